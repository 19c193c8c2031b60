"""Makes the files behind a machine's disks, in the cluster's directory. Everything here blocks: call it in a thread."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from kubelet_bridge.devcluster.devhost.cdi import diskimages
from kubelet_bridge.devcluster.devhost.qemu import cloudinit, iso, localimages
from kubelet_bridge.devcluster.devhost.qemu.disks import Claimed, Drive, Empty, Files, Image, Seed
from kubelet_bridge.devcluster.devhost.qemu.vmispec import Vmi
from kubelet_bridge.devcluster.devhost.storage.claimed import ClaimedImage
from kubelet_bridge.errors import Terminal, Transient

Objects = Callable[[bool, str], Mapping[str, bytes]]
"""The data of a Secret (True) or a ConfigMap (False) in the VirtualMachineInstance's namespace, by name."""

_QCOW2, _RAW = "qcow2", "raw"
_FIRMWARE = Path("/usr/share/OVMF")
_CODE, _VARIABLES = "OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"


class Made(msgspec.Struct, frozen=True):
    """The files of a machine's disks and their formats, by the disks' names."""

    files: Mapping[str, Path]
    formats: Mapping[str, str]


class Claims(msgspec.Struct, frozen=True):
    """The disks of claims: ``images`` of those whose storage is the dev hosts', a file in ``directory`` for others."""

    directory: Path
    images: Mapping[str, ClaimedImage] = {}


def make(vmi: Vmi, drives: list[Drive], hostname: str, objects: Objects, directory: Path, claims: Claims) -> Made:
    """Make what is not there yet, those of the guest alone in ``directory``.

    Raises:
        Transient: an image is not on this machine (yet).
        Terminal: a disk cannot be made.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    maker = _Maker(vmi, hostname, objects, directory, claims)
    made = {drive.name: maker.make(drive) for drive in drives}
    return Made({name: path for name, (path, _) in made.items()}, {name: kind for name, (_, kind) in made.items()})


def firmware(directory: Path) -> tuple[Path, Path] | None:
    """UEFI code, and variables that are the guest's own; None when this machine has no UEFI for guests."""
    code, template, own = _FIRMWARE / _CODE, _FIRMWARE / _VARIABLES, directory / "efi-variables.fd"
    if not code.exists() or not template.exists():
        return None
    if not own.exists():
        shutil.copyfile(template, own)
    return code, own


class _Maker:
    def __init__(self, vmi: Vmi, hostname: str, objects: Objects, directory: Path, claims: Claims) -> None:
        self._vmi = vmi
        self._hostname = hostname
        self._objects = objects
        self._directory = directory
        self._claims = claims

    def make(self, drive: Drive) -> tuple[Path, str]:
        path = self._directory / f"{drive.name}.{_QCOW2}"
        match drive.source:
            case Image(reference):
                return self._overlay(path, reference), _QCOW2
            case Empty(size):
                return _blank(path, size), _QCOW2
            case Claimed() as source:
                return self._claimed(source)
            case Seed() | Files() as source:
                return self._iso(drive.name, source), _RAW

    def _claimed(self, source: Claimed) -> tuple[Path, str]:
        if (image := self._claims.images.get(source.claim)) is not None:
            return claimed_disk(source, image), _RAW
        self._claims.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _blank(self._claims.directory / f"{source.namespace}_{source.claim}.{_QCOW2}", source.size), _QCOW2

    def _overlay(self, path: Path, reference: str) -> Path:
        image = localimages.find(reference)
        if image is None:
            raise Transient(f"{reference}: not on this machine", reason="ErrImagePull")
        if not path.exists():
            qemu_img("create", "-q", "-f", _QCOW2, "-b", str(image.resolve()), "-F", _QCOW2, str(path))
        return path

    def _iso(self, name: str, source: Seed | Files) -> Path:
        path = self._directory / f"{name}.iso"
        if path.exists():
            return path
        label, files = self._content(source)
        iso.write(path, label, files)
        return path

    def _content(self, source: Seed | Files) -> tuple[str, Mapping[str, bytes]]:
        """The disk's label, and the files on it."""
        match source:
            case Files(name, label, secret):
                return label, self._objects(secret, name)
            case Seed(documents, drive):
                make = cloudinit.config_drive if drive else cloudinit.no_cloud
                files = make(self._vmi, documents, self._hostname, lambda name: self._objects(True, name))
                return cloudinit.CONFIG_DRIVE_LABEL if drive else cloudinit.NO_CLOUD_LABEL, files


def claimed_disk(source: Claimed, image: ClaimedImage) -> Path:
    """The raw disk of a claim. virt-handler makes the image of an empty filesystem volume, and lets it grow with it."""
    if not image.block:
        size = diskimages.usable(min(image.capacity, source.size), source.overhead)
        with image.path.open("ab") as file:
            if os.fstat(file.fileno()).st_size < size:
                file.truncate(size)
    return image.path


def _blank(path: Path, size: int) -> Path:
    """A sparse disk, unless there is one already."""
    if not path.exists():
        draft = path.with_name(f".{path.name}.new")
        qemu_img("create", "-q", "-f", _QCOW2, str(draft), str(-(-size // 512) * 512))
        draft.replace(path)
    return path


def qemu_img(*arguments: str) -> None:
    """Run ``qemu-img``.

    Raises:
        Terminal: it failed; the message is its own.
    """
    done = subprocess.run(["qemu-img", *arguments], capture_output=True, check=False, timeout=120)
    if done.returncode:
        raise Terminal(f"qemu-img: {done.stderr.decode(errors='replace').strip()}", reason="DiskFailed")
