"""A command run to its end: exec probes, hooks, and the platform's own."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from kubelet_bridge.agent import tasks
from kubelet_bridge.agent.driver import Process


class Finished(NamedTuple):
    """How it ended, with the beginning of what it wrote (both outputs, as they came)."""

    exit_code: int
    output: bytes


class TimedOut(Exception):
    """It took too long and was ended; ``output`` is what it had written."""

    def __init__(self, output: bytes) -> None:
        super().__init__("command timed out")
        self.output = output


async def finish(process: Process, timeout: float, keep: int) -> Finished:
    """Read it to its end, keeping the first ``keep`` bytes of its output.

    Raises:
        TimedOut: after ``timeout`` seconds; the process has been ended.
    """
    kept = bytearray()
    work = tasks.start(_read(process, kept, keep), "command")
    try:
        await asyncio.wait({work}, timeout=timeout)
        if not work.done():
            raise TimedOut(bytes(kept))
        return Finished(work.result(), bytes(kept))
    finally:
        await process.kill()
        await tasks.end([work])


async def _read(process: Process, kept: bytearray, keep: int) -> int:
    while True:
        piece = await process.read()
        if piece is None:
            break
        kept += piece[1][: max(0, keep - len(kept))]
    code, _ = await process.wait()
    return code
