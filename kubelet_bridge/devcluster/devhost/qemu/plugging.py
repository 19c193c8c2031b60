"""QMP commands that plug a disk into a running machine and unplug it again. Pure.

Commands: qapi/block-core.json and qapi/qdev.json in QEMU. A virtio disk needs an empty PCIe port; ``machine`` makes
some.
"""

import hashlib
from pathlib import Path
from typing import Any

from kubelet_bridge.devcluster.devhost.qemu.disks import Drive, Kind

PORTS = tuple(f"hotplug{number}" for number in range(4))
"""The PCIe ports that are empty when a machine starts."""

PERIPHERALS = "/machine/peripheral"
"""Where QEMU's object tree has every device with a name of its own."""

_SERIAL_LENGTH = 20
_ALIAS = "ua-"

Command = tuple[str, dict[str, Any]]


def device(name: str) -> str:
    """The device of the disk ``name``, as virt-launcher calls it."""
    return f"{_ALIAS}{name}"


def disk_of(device_name: str) -> str | None:
    """The disk that a device is; None for one that is no disk."""
    return device_name.removeprefix(_ALIAS) if device_name.startswith(_ALIAS) else None


def add_nodes(drive: Drive, file: Path, form: str) -> tuple[Command, Command]:
    """What makes the disk known to QEMU, in this order."""
    storage, disk = nodes(drive.name)
    readonly = not drive.writable
    node: dict[str, Any] = {
        "driver": form, "node-name": disk, "file": storage, "read-only": readonly,
        "cache": {"direct": False, "no-flush": False},
    }  # fmt: skip
    if not readonly:
        node |= {"discard": "unmap", "detect-zeroes": "unmap"}
    return (
        ("blockdev-add", {"driver": "file", "filename": str(file), "node-name": storage, "read-only": readonly}),
        ("blockdev-add", node),
    )


def add_device(drive: Drive) -> list[Command]:
    """What shows the disk to the guest: one to try after the other, for a virtio disk each on another port."""
    common = {"drive": nodes(drive.name)[1], "id": device(drive.name)}
    if drive.serial:
        common["serial"] = drive.serial[:_SERIAL_LENGTH]
    if drive.bus == "scsi":
        driver = "scsi-cd" if drive.kind is Kind.CDROM else "scsi-hd"
        return [("device_add", {"driver": driver, "bus": "scsi0.0", **common})]
    return [("device_add", {"driver": "virtio-blk-pci", "bus": port, **common}) for port in PORTS]


def remove_nodes(name: str) -> list[Command]:
    """What makes QEMU forget a disk whose device has gone."""
    storage, disk = nodes(name)
    return [("blockdev-del", {"node-name": disk}), ("blockdev-del", {"node-name": storage})]


def nodes(name: str) -> tuple[str, str]:
    """QEMU's names for a disk's file and for the disk: they have 31 characters at most, a volume's name 63."""
    short = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"hot-file-{short}", f"hot-disk-{short}"
