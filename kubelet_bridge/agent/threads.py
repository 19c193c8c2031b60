"""Work that blocks, done beside the event loop."""

from __future__ import annotations

import asyncio
import functools
from typing import Any, Callable, TypeVar

_T = TypeVar("_T")


async def in_thread(function: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
    """Call ``function`` in a thread (Python 3.8 has no ``asyncio.to_thread``); what it raises is raised here."""
    return await asyncio.get_running_loop().run_in_executor(None, functools.partial(function, *args, **kwargs))
