"""Small files, off the event loop: read whole, and written so that a crash leaves the old or the new one."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, Literal


async def read(path: Path) -> bytes:
    """The content. Raises ``OSError``."""
    return await asyncio.to_thread(path.read_bytes)


async def write_private(path: Path, content: bytes) -> None:
    """Replace ``path`` with ``content``, readable by its owner only; a missing directory is made (0700)."""
    await asyncio.to_thread(_write_private, path, content)


async def remove(path: Path) -> None:
    """Remove ``path`` if it is there."""
    await asyncio.to_thread(path.unlink, missing_ok=True)


@contextlib.asynccontextmanager
async def opened(path: Path, mode: Literal["rb", "wb"]) -> AsyncIterator[BinaryIO]:
    """``path``, opened off the loop and closed in the end, also when the caller was cancelled while it was opened.

    Raises:
        OSError: it cannot be opened.
    """
    opening = asyncio.get_running_loop().run_in_executor(None, lambda: path.open(mode))
    try:
        file = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        raise
    try:
        yield file
    finally:
        await asyncio.to_thread(file.close)


async def fingerprint(*paths: Path) -> tuple[tuple[int, int, int], ...] | None:
    """What changes when a file is replaced or rewritten, behind links too; None when one is missing."""
    return await asyncio.to_thread(_fingerprint, paths)


def _close(opening: "asyncio.Future[BinaryIO]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _fingerprint(paths: tuple[Path, ...]) -> tuple[tuple[int, int, int], ...] | None:
    try:
        return tuple((found.st_mtime_ns, found.st_ino, found.st_size) for found in map(os.stat, paths))
    except OSError:
        return None


def _write_private(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
