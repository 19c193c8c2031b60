"""Disk images as an importer takes them: what they are, whether they fit, and into a volume. Everything here blocks.

Formats: docs/interop/qcow2.rst in QEMU. Messages: pkg/image/qemu.go and pkg/importer in CDI, which the tools that read
them know.
"""

import gzip
import lzma
import math
import os
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import msgspec

from kubelet_bridge.errors import Terminal

_MIB = 1 << 20
_QCOW2 = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQ")
"""Magic, version, offset and length of the backing file's name, bits of a cluster, virtual size."""

_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"


class Format(msgspec.Struct, frozen=True):
    """``name`` as qemu-img has it; ``size`` of the disk as a guest sees it, in bytes."""

    name: str
    size: int


def usable(available: int, overhead: float) -> int:
    """What a disk may take of a filesystem volume, in whole MiB (pkg/util GetUsableSpace in CDI)."""
    return math.ceil(available / (1 + overhead)) // _MIB * _MIB


def unpack(path: Path) -> Path:
    """``path`` itself, or what it holds when it is a gzip or an xz file, beside it.

    Raises:
        Terminal: it is damaged.
    """
    with path.open("rb") as file:
        beginning = file.read(len(_XZ))
    if not beginning.startswith((_GZIP, _XZ)):
        return path
    target = path.with_name(f"{path.name}.unpacked")
    try:
        with (
            gzip.GzipFile(path) if beginning.startswith(_GZIP) else lzma.LZMAFile(path) as packed,
            target.open("wb") as file,
        ):
            shutil.copyfileobj(packed, file, _MIB)
    except (gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise Terminal(f"the image cannot be unpacked: {error}", reason="BadImage") from error
    return target


def probe(path: Path) -> Format:
    """What an image is.

    Raises:
        Terminal: it needs another file: a disk of somebody else's could be read that way.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
    if not header.startswith(_QCOW2) or len(header) < _HEADER.size:
        return Format("raw", path.stat().st_size)
    _, _, backing, _, _, size = _HEADER.unpack(header)
    if backing:
        raise Terminal("Image is invalid because it has a backing file", reason="BadImage")
    return Format("qcow2", size)


def check_fits(image: Format, available: int) -> None:
    """Raises ``Terminal`` when the disk is larger than ``available`` bytes."""
    if image.size > available:
        raise Terminal(
            f"virtual image size {image.size} is larger than the reported available storage {available}. "
            "A larger PVC is required",
            reason="TooLarge",
        )


def place(source: Path, image: Format, target: Path) -> None:
    """Write ``source`` raw over the beginning of ``target``, which keeps its length; holes are made where it is zero.

    What ``target`` held there before is not seen any more.
    """
    if image.name != "raw":
        converted = source.with_name(f"{source.name}.raw")
        _qemu_img("convert", "-f", image.name, "-O", "raw", str(source), str(converted))
        source = converted
    with source.open("rb") as read, target.open("r+b") as written:
        _empty(written.fileno(), os.fstat(written.fileno()).st_size)
        while block := read.read(_MIB):
            if block.count(0) == len(block):
                written.seek(len(block), os.SEEK_CUR)
            else:
                written.write(block)
        written.flush()
        os.fsync(written.fileno())


def blank(target: Path, size: int) -> None:
    """A sparse file of ``size`` bytes that reads as zeros, whatever was there."""
    with target.open("wb") as file:
        file.truncate(size)
        os.fsync(file.fileno())


def _empty(descriptor: int, size: int) -> None:
    os.ftruncate(descriptor, 0)
    os.ftruncate(descriptor, size)


def _qemu_img(*arguments: str) -> None:
    program = shutil.which("qemu-img")
    if program is None:
        raise Terminal("this machine has no qemu-img to convert the image with (Debian: qemu-utils)", reason="NoTool")
    done = subprocess.run([program, *arguments], capture_output=True, check=False)
    if done.returncode:
        raise Terminal(f"Conversion to Raw failed: {done.stderr.decode(errors='replace').strip()}", reason="BadImage")
