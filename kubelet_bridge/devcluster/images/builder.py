"""Building disks into the cache, each when it is missing or something it is made from has changed.

In two steps, as the second is quick and its input, the agent, changes often: packages and files into an archive of the
file system, which is kept; then the agent, the boot loader and the disk.
"""

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from kubelet_bridge.devcluster.images import bakedagent, bootsector, disk, initramfs, rootfs, store, tools
from kubelet_bridge.devcluster.images.recipe import Source
from kubelet_bridge.devcluster.images.rootfs import Files
from kubelet_bridge.devcluster.images.store import Record
from kubelet_bridge.devcluster.progress import Progress
from kubelet_bridge.errors import Terminal
from kubelet_bridge.guest import bundle
from kubelet_bridge.guest.bundle import Bundle
from kubelet_bridge.settings import cache_root

_DISK_CODE = (disk, bootsector, initramfs, bakedagent)


class Plan(msgspec.Struct, frozen=True):
    """What an image is made from.

    Attributes:
        files: more files for its first step.
        agent: for the second.
        archive: digest of the first step's inputs, but for the versions of Debian's packages.
        whole: digest of the second's.
    """

    source: Source
    files: Files
    agent: Bundle | None
    archive: str
    whole: str


def plan(source: Source) -> Plan:
    """What ``source`` would be built from now. Blocks, when the agent has to be packed."""
    agent = bundle.ensure(cache_root()) if source.recipe.agent else None
    files = bakedagent.unit_files() if agent else {}
    archive = hashlib.sha256(source.digest().encode() + _code(rootfs))
    for name, (mode, content) in sorted(files.items()):
        archive.update(f"\0{name}\0{mode}\0".encode() + content)
    whole = hashlib.sha256(archive.digest() + b"".join(map(_code, _DISK_CODE)))
    whole.update(agent.digest.encode() if agent else b"")
    return Plan(source, files, agent, archive.hexdigest(), whole.hexdigest())


def _code(module: object) -> bytes:
    return Path(str(vars(module)["__file__"])).read_bytes()


def ensure_disk(source: Source, progress: Progress, *, again: bool = False) -> Path:
    """The disk of ``source``, built unless it is there. Blocks, for a minute or two when it has to be built.

    Args:
        source: a recipe with a disk.
        progress: told of every step.
        again: build it though it is there, with Debian's packages of today.

    Raises:
        Terminal: it cannot be built here; the message says why.
    """
    target = store.disk_path(source.recipe.reference)
    wanted = plan(source)
    if not again and is_current(target, wanted.whole):
        return target
    tools.check()
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target, progress):
        if again or not is_current(target, wanted.whole):
            archive, packages = ensure_archive(wanted, progress, again=again)
            _write(wanted, archive, packages, target, progress)
    return target


def is_current(image: Path, inputs: str) -> bool:
    """Whether ``image`` is there and was made from what it would be made from now."""
    record = store.read(image)
    return record is not None and record.inputs == inputs


def ensure_archive(wanted: Plan, progress: Progress, *, again: bool = False) -> tuple[Path, dict[str, str]]:
    """The file system as a tar archive, built unless it is there, and the versions of its packages."""
    name = wanted.source.recipe.reference
    archive = store.archive_path(name)
    record = store.read(archive)
    if again or record is None or record.inputs != wanted.archive:
        archive.parent.mkdir(parents=True, exist_ok=True)
        with progress.step(f"{name}: Debian's packages", f"{name}: Debian's packages are installed"):
            packages = rootfs.build(wanted.source, archive, cache_root() / "packages", wanted.files)
        record = Record(wanted.archive, store.file_digest(archive), packages)
        store.write(archive, record)
    return archive, record.packages


def _write(wanted: Plan, archive: Path, packages: dict[str, str], target: Path, progress: Progress) -> None:
    recipe = wanted.source.recipe
    if recipe.disk is None:
        raise Terminal(f"{recipe.reference} is no disk")

    def change(root: Path) -> None:
        if wanted.agent is not None:
            bakedagent.add(root, wanted.agent)

    with progress.step(f"{recipe.reference}: writing the disk", f"{recipe.reference}: {target}"):
        disk.build(archive, recipe.disk, target, archive.parent, change)
        store.write(target, Record(wanted.whole, store.file_digest(target), packages))


@contextmanager
def locked(image: Path, progress: Progress) -> Iterator[None]:
    """One build of an image at a time."""
    with image.with_name(f".{image.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with progress.step(f"waiting for another build of {image.name}"):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
