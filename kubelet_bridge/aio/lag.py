"""How late the event loop runs what is due: the first sign that something blocks it."""

import asyncio
from collections.abc import Callable


async def measure_lag(observe: Callable[[float], None], *, interval: float = 0.5) -> None:
    """Tell ``observe`` the lateness, in seconds, of a timer set every ``interval`` seconds. Never returns."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval
        await asyncio.sleep(interval)
        observe(max(0.0, loop.time() - due))
