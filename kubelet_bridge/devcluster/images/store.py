"""Where built images are in the cache, and what is known of each."""

import hashlib
from pathlib import Path

import msgspec

from kubelet_bridge.settings import cache_root


class Record(msgspec.Struct, frozen=True):
    """Lies beside an image, as ``.json``.

    Attributes:
        inputs: digest of all that the image was built from, but for Debian's packages.
        digest: SHA-256 of the image's file.
        packages: version by Debian package.
    """

    inputs: str
    digest: str
    packages: dict[str, str]


def images() -> Path:
    """The directory of disks."""
    return cache_root() / "images"


def disk_path(reference: str) -> Path:
    """Where the disk is that ``reference`` (``NAME:TAG``) stands for; it may not be there.

    >>> disk_path("quay.io/containerdisks/debian:12").relative_to(images())
    PosixPath('quay.io/containerdisks/debian/12.qcow2')
    """
    name, _, tag = reference.rpartition(":")
    return images() / name / f"{tag}.qcow2"


def archive_path(reference: str) -> Path:
    """Where the file system of an image is kept, from which its disk is made."""
    return cache_root() / "archives" / f"{reference.replace('/', '_').replace(':', '_')}.tar"


def layout_path(reference: str) -> Path:
    """Where the OCI layout of an application image is."""
    name, _, tag = reference.rpartition(":")
    return cache_root() / "applications" / name / tag


def record_path(image: Path) -> Path:
    """What is known of an image."""
    return image.with_name(f"{image.name}.json")


def read(image: Path) -> Record | None:
    """What is known of ``image``; None when it is not there."""
    if not image.exists():
        return None
    try:
        return msgspec.json.decode(record_path(image).read_bytes(), type=Record)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def write(image: Path, record: Record) -> None:
    """Record what is known of ``image``."""
    record_path(image).write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")


def file_digest(path: Path) -> str:
    """SHA-256, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
