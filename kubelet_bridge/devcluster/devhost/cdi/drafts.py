"""A place for unfinished files on a volume, which goes whatever happens."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

_PREFIX = ".cdi-draft-"


@contextlib.asynccontextmanager
async def drafts(volume: Path) -> AsyncIterator[Path]:
    """A directory in ``volume``, of which there is one at a time: what a host that was killed has left goes first."""
    directory = await asyncio.to_thread(_make, volume)
    try:
        yield directory
    finally:
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


def _make(volume: Path) -> Path:
    for left in volume.glob(f"{_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=volume))
