"""Waiting for a process of another's to end, without asking again and again where the system can tell."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

POLL_SECONDS = 0.5
HANGUP_SECONDS = 5.0


async def process_ended(pid: int, container: str) -> None:
    """Return when the process ``pid`` of that container is gone; at once when it is, or the number is another's."""
    try:
        handle = os.pidfd_open(pid)
    except (AttributeError, OSError):  # Python 3.8 has no pidfd_open; or there is no such process
        handle = -1
    try:
        if not _belongs(pid, container):
            return
        if handle >= 0:
            await _readable(handle)
            return
        while _belongs(pid, container):  # noqa: ASYNC110 - there is nobody who could tell
            await asyncio.sleep(POLL_SECONDS)
    finally:
        if handle >= 0:
            os.close(handle)


async def end_process(pid: int, container: str) -> None:
    """End a process of that container: SIGHUP, and SIGKILL when it has not gone after a while."""
    if _signalled(pid, container, signal.SIGHUP):
        try:
            await asyncio.wait_for(process_ended(pid, container), HANGUP_SECONDS)
        except asyncio.TimeoutError:
            _signalled(pid, container, signal.SIGKILL)


def _signalled(pid: int, container: str, number: signal.Signals) -> bool:
    if not _belongs(pid, container):
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


async def _readable(handle: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(handle, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(handle)


def _belongs(pid: int, container: str) -> bool:
    """Numbers are used again; the cgroup says whose a process is."""
    try:
        return container in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False
