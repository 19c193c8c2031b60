"""An import: from where the Pod says into its claim's volume, with progress."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import aiohttp

from kubelet_bridge.aio import files
from kubelet_bridge.devcluster.devhost.cdi import diskimages
from kubelet_bridge.devcluster.devhost.cdi.drafts import drafts
from kubelet_bridge.devcluster.devhost.cdi.work import Import
from kubelet_bridge.devcluster.devhost.qemu import localimages
from kubelet_bridge.devcluster.devhost.storage.claimed import ClaimedImage
from kubelet_bridge.errors import Terminal, Transient

COMPLETE = "Import Complete"
_BLOCK = 1 << 20
_STALLED = aiohttp.ClientTimeout(total=None, sock_connect=30.0, sock_read=60.0)

Progress = Callable[[float], None]
"""Told the percent that is done."""


class ChecksumMismatch(Terminal):
    """What came is not what was named; trying again would not help."""


async def run(work: Import, image: ClaimedImage, progress: Progress) -> None:
    """Fill ``image``. What was there is gone; when it fails, a disk that is half filled is not left behind.

    Raises:
        ChecksumMismatch: what came is something else.
        Terminal: it cannot be done; the message is as the importer's.
        Transient: it could not be fetched.
    """
    if work.source == "none":
        if not image.block:
            size = diskimages.usable(min(image.capacity, work.size), work.overhead)
            await asyncio.to_thread(diskimages.blank, image.path, size)
        return
    async with drafts(image.path.parent) as directory:
        fetched = await _fetch(work, directory / "source", progress)
        await to_the_end(lambda: fill(fetched, work.size, work.overhead, image, directory))
    progress(100.0)


async def to_the_end(write: Callable[[], None]) -> None:
    """Run ``write`` in a thread; when cancelled, only after it: the next run must not write beside it."""
    job = asyncio.get_running_loop().run_in_executor(None, write)
    try:
        await asyncio.shield(job)
    except asyncio.CancelledError:
        await asyncio.wait([job])
        raise


async def _fetch(work: Import, target: Path, progress: Progress) -> Path:
    if work.source == "http":
        await _download(work, target, progress)
        return target
    reference = work.endpoint.removeprefix("docker://")
    found = await asyncio.to_thread(localimages.find, reference)
    if found is None:
        raise Transient(f"Failed to read registry image: {reference}: not on this machine", reason="ErrImagePull")
    return found


async def _download(work: Import, target: Path, progress: Progress) -> None:
    checksum = _Checksum(work.checksum)
    try:
        async with (
            aiohttp.ClientSession(timeout=_STALLED) as http,
            http.get(work.endpoint, ssl=not work.insecure) as response,
        ):
            if response.status != 200:
                raise Transient(
                    f"Unable to connect to http data source: expected status code 200, got {response.status}. "
                    f"Status: {response.status} {response.reason}",
                    reason="HttpStatus",
                )
            total, received = response.content_length or 0, 0
            async with files.opened(target, "wb") as file:
                async for block in response.content.iter_chunked(_BLOCK):
                    await asyncio.to_thread(file.write, block)
                    checksum.update(block)
                    received += len(block)
                    if total:
                        progress(100.0 * received / total)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Transient(f"Unable to connect to http data source: {str(error) or type(error).__name__}") from error
    checksum.check()


def fill(
    source: Path, size: int, overhead: float, image: ClaimedImage, directory: Path, *, raw: bool = False
) -> None:  # fmt: skip
    """Put the image file ``source`` into a volume, as a disk of ``size`` bytes where there is room. Blocks.

    ``directory`` is on the volume, for drafts: a filesystem volume gets its image whole, by renaming. A Block volume
    cannot. What is ``raw`` is a disk that a guest has written: whatever its first bytes look like, they are not read.

    Raises:
        Terminal: it is no disk that fits.
    """
    unpacked = diskimages.unpack(source) if source.parent == directory and not raw else source
    found = diskimages.Format("raw", source.stat().st_size) if raw else diskimages.probe(unpacked)
    room = image.capacity if image.block else diskimages.usable(image.capacity, overhead)
    diskimages.check_fits(found, room)
    if image.block:
        diskimages.place(unpacked, found, image.path)
        return
    draft = directory / "disk"
    diskimages.blank(draft, max(found.size, min(size, room)))
    diskimages.place(unpacked, found, draft)
    draft.chmod(0o660)
    draft.replace(image.path)


class _Checksum:
    """``ALGORITHM:HEX`` of what is read; nothing is checked without one."""

    def __init__(self, wanted: str) -> None:
        algorithm, _, self._wanted = wanted.lower().partition(":")
        if wanted and algorithm not in ("md5", "sha1", "sha256", "sha512"):
            raise Terminal(f"unsupported checksum algorithm: {algorithm}", reason="BadChecksum")
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm, usedforsecurity=False) if wanted else None

    def update(self, block: bytes) -> None:
        if self._hash is not None:
            self._hash.update(block)

    def check(self) -> None:
        if self._hash is not None and self._hash.hexdigest() != self._wanted:
            raise ChecksumMismatch(
                f"checksum validation failed: checksum mismatch: expected {self._algorithm}:{self._wanted}, "
                f"calculated {self._algorithm}:{self._hash.hexdigest()}"
            )
