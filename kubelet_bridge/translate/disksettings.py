"""How a guest sees the disk of a volume: ``kubelet-bridge.io/disk.VOLUME.{bus,cdrom,boot-order}`` on the Pod."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import msgspec

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.meta import PREFIX

ANNOTATION = f"{PREFIX}/disk."
_SWITCH = ("true", "false")


class Bus(StrEnum):
    """What KubeVirt can attach a disk to (``DiskBus`` in its API)."""

    VIRTIO = "virtio"
    SCSI = "scsi"
    SATA = "sata"
    USB = "usb"


class _Setting(StrEnum):
    BUS = "bus"
    CDROM = "cdrom"
    BOOT_ORDER = "boot-order"


class DiskSettings(msgspec.Struct, frozen=True):
    """Of one volume; a boot order of None: it is not booted from."""

    bus: Bus = Bus.VIRTIO
    cdrom: bool = False
    boot_order: int | None = None

    def device(self, *, read_only: bool) -> dict[str, Any]:
        """The ``disk`` or ``cdrom`` of a KubeVirt disk, with its boot order. A CD-ROM is always read-only."""
        order = {"bootOrder": self.boot_order} if self.boot_order is not None else {}
        if self.cdrom:  # a virtio CD-ROM does not exist
            bus = Bus.SATA if self.bus is Bus.VIRTIO else self.bus
            return {"cdrom": {"bus": bus.value, "readonly": True}, **order}
        return {"disk": {"bus": self.bus.value, **({"readonly": True} if read_only else {})}, **order}


def settings(pod: Pod, volume: str) -> DiskSettings:
    """What the Pod's annotations say of ``volume``; what ``faults`` lists is left out."""
    given = pod.metadata.annotations
    bus, cdrom, order = (given.get(f"{ANNOTATION}{volume}.{one}", "") for one in _Setting)
    return DiskSettings(
        bus=Bus(bus) if bus in tuple(Bus) else Bus.VIRTIO,
        cdrom=cdrom == "true",
        boot_order=int(order) if _is_order(order) else None,
    )


def faults(pod: Pod) -> Iterator[str]:
    """The annotations that name no volume of the Pod, no setting, no value of it, or a boot order taken by another."""
    volumes = {str(one.get("name")) for one in pod.spec.volumes}
    orders: set[str] = set()
    for name, value in sorted(pod.metadata.annotations.items()):
        if not name.startswith(ANNOTATION):
            continue
        volume, _, setting = name.removeprefix(ANNOTATION).rpartition(".")
        taken = setting == _Setting.BOOT_ORDER and value in orders
        if volume not in volumes or not _is_value(setting, value) or taken:
            yield f"metadata.annotations[{name}]"
        if setting == _Setting.BOOT_ORDER:
            orders.add(value)


def _is_value(setting: str, value: str) -> bool:
    match setting:
        case _Setting.BUS:
            return value in tuple(Bus)
        case _Setting.CDROM:
            return value in _SWITCH
        case _Setting.BOOT_ORDER:
            return _is_order(value)
        case _:
            return False


def _is_order(value: str) -> bool:
    return value.isascii() and value.isdecimal() and 0 < len(value) <= 3 and not value.startswith("0")
