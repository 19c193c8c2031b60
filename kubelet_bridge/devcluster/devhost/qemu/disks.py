"""The disks of a machine, read from the VirtualMachineInstance. Pure: ``storage`` makes the files."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from kubelet_bridge.devcluster.devhost.qemu.vmispec import Bus, CloudInit, Disk, Vmi, Volume
from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.quantity import Quantity


class Kind(StrEnum):
    """How a guest sees a disk."""

    DISK = "disk"
    CDROM = "cdrom"
    LUN = "lun"


class Image(msgspec.Struct, frozen=True, tag=True):
    """A copy-on-write layer over a container disk, gone with the VirtualMachineInstance."""

    reference: str


class Empty(msgspec.Struct, frozen=True, tag=True):
    """A sparse disk of so many bytes, gone with the VirtualMachineInstance."""

    size: int


class Claimed(msgspec.Struct, frozen=True, tag=True):
    """The disk of a claim, which stays.

    Attributes:
        size: in bytes, of the claim.
        overhead: part of a filesystem volume that is not for the disk.
    """

    namespace: str
    claim: str
    size: int
    overhead: float = 0.0


class Seed(msgspec.Struct, frozen=True, tag=True):
    """A cloud-init disk; ``drive``: ConfigDrive instead of NoCloud."""

    source: CloudInit
    drive: bool


class Files(msgspec.Struct, frozen=True, tag=True):
    """The entries of a Secret or a ConfigMap as files, on a disk called ``label``."""

    name: str
    label: str
    secret: bool


Source = Image | Empty | Claimed | Seed | Files

_BUSES = ("virtio", "sata", "scsi", "usb")


class Drive(msgspec.Struct, frozen=True):
    """One disk. ``boot`` is its place in the boot order; 0: not booted from."""

    name: str
    kind: Kind
    bus: str
    source: Source
    serial: str = ""
    boot: int = 0
    readonly: bool = False

    @property
    def writable(self) -> bool:
        """Whether the guest can change it."""
        return not self.readonly and not isinstance(self.source, (Seed, Files))


def drives(vmi: Vmi) -> list[Drive]:
    """The disks that the machine starts with, in the order of the VirtualMachineInstance.

    Without any ``bootOrder`` the first one is booted. Those that are plugged in later are not among them.

    Raises:
        Terminal: a disk that this mode cannot make; the message names it.
    """
    volumes = {volume.name: volume for volume in vmi.spec.volumes}
    later = {status.name for status in vmi.status.volume_status if status.hotplug_volume is not None}
    disks = [disk for disk in vmi.spec.domain.devices.disks if disk.name not in later]
    ordered = any(disk.boot_order for disk in disks)
    boots = [disk.boot_order or (0 if ordered or index else 1) for index, disk in enumerate(disks)]
    return [_drive(vmi, volumes, disk, boot) for disk, boot in zip(disks, boots, strict=True)]


def drive(vmi: Vmi, name: str) -> Drive:
    """The one disk called ``name``, to be plugged in: nothing boots from it.

    Raises:
        Terminal: it cannot be plugged in; the message says why.
    """
    disk = next((disk for disk in vmi.spec.domain.devices.disks if disk.name == name), None)
    if disk is None:
        raise Terminal(f"volume {name}: there is no disk of that name", reason="UnknownVolume")
    found = _drive(vmi, {volume.name: volume for volume in vmi.spec.volumes}, disk)
    if found.bus not in ("scsi", "virtio"):
        raise Terminal(f"disk {name}: bus {found.bus} has no hot-plug, scsi and virtio have", reason="CannotPlug")
    return found


def _drive(vmi: Vmi, volumes: Mapping[str, Volume], disk: Disk, boot: int = 0) -> Drive:
    if disk.name not in volumes:
        raise Terminal(f"disk {disk.name}: there is no volume of that name", reason="UnknownVolume")
    kind, bus = _bus(disk)
    readonly = kind is Kind.CDROM or bool(_seen_as(disk).readonly)
    return Drive(disk.name, kind, bus, _source(vmi, volumes[disk.name]), disk.serial, boot, readonly)


def references(drive: Drive) -> list[tuple[bool, str]]:
    """The Secrets (True) and ConfigMaps (False) that a disk is made of, by name."""
    match drive.source:
        case Seed(source):
            found = (source.secret_ref, source.network_data_secret_ref)
            return [(True, reference.name) for reference in found if reference is not None]
        case Files(name, _, secret):
            return [(secret, name)]
        case _:
            return []


def _seen_as(disk: Disk) -> Bus:
    return disk.cdrom or disk.lun or disk.disk or Bus()


def _bus(disk: Disk) -> tuple[Kind, str]:
    kind = Kind.CDROM if disk.cdrom else Kind.LUN if disk.lun else Kind.DISK
    bus = _seen_as(disk).bus or ("sata" if kind is Kind.CDROM else "virtio")
    if bus not in _BUSES:
        raise Terminal(f"disk {disk.name}: bus {bus!r} is none of {', '.join(_BUSES)}", reason="UnsupportedBus")
    return kind, bus


def _source(vmi: Vmi, volume: Volume) -> Source:
    if volume.container_disk is not None:
        return Image(volume.container_disk.image)
    if volume.empty_disk is not None:
        return Empty(Quantity.parse(volume.empty_disk.capacity).ceil())
    if volume.cloud_init_no_cloud is not None:
        return Seed(volume.cloud_init_no_cloud, drive=False)
    if volume.cloud_init_config_drive is not None:
        return Seed(volume.cloud_init_config_drive, drive=True)
    if volume.config_map is not None:
        return Files(volume.config_map.name, volume.config_map.volume_label or volume.name, secret=False)
    if volume.secret is not None:
        return Files(volume.secret.secret_name, volume.secret.volume_label or volume.name, secret=True)
    claim = volume.persistent_volume_claim.claim_name if volume.persistent_volume_claim else ""
    claim = claim or (volume.data_volume.name if volume.data_volume else "")
    if claim:
        return Claimed(vmi.metadata.namespace, claim, *_claim_size(vmi, volume.name))
    raise Terminal(f"volume {volume.name}: this mode has no disks of its kind", reason="UnsupportedVolume")


def _claim_size(vmi: Vmi, volume: str) -> tuple[int, float]:
    """Bytes, and the filesystem's overhead.

    virt-controller writes both down before it hands the VirtualMachineInstance to a host.
    """
    status = next((status for status in vmi.status.volume_status if status.name == volume), None)
    info = status.persistent_volume_claim_info if status else None
    size = (info.capacity.get("storage") or info.requests.get("storage")) if info else None
    if not size:
        raise Terminal(f"volume {volume}: the size of its claim is not known", reason="UnknownClaim")
    return Quantity.parse(size).ceil(), float((info.filesystem_overhead if info else "") or 0)
