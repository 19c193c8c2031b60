"""Waiting for something another process brings about."""

import asyncio
from collections.abc import Awaitable, Callable

from kubelet_bridge.errors import ApiError, Terminal

_POLL_SECONDS = 0.1


async def until(condition: Callable[[], Awaitable[bool]], what: str, *, within: float = 60.0) -> None:
    """Return when ``condition`` holds. An ``ApiError`` out of it means: not yet.

    Raises:
        Terminal: it does not hold after ``within`` seconds; the message ends with the last error.
    """
    said = ""
    try:
        async with asyncio.timeout(within):
            while True:
                try:
                    if await condition():
                        return
                except ApiError as error:
                    said = f": {error}"
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise Terminal(f"{what} is not ready after {within:.0f} s{said}") from None
