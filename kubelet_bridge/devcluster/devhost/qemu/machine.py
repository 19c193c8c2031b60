"""QEMU's arguments for one VirtualMachineInstance. Pure.

Follows what virt-launcher asks of libvirt (pkg/virt-launcher/virtwrap/converter in KubeVirt): a q35 machine, its
identity, disks on their buses, a serial console, a VNC screen and the guest agent's channel.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec

from kubelet_bridge.devcluster.devhost.qemu import network, plugging
from kubelet_bridge.devcluster.devhost.qemu.disks import Claimed, Drive, Kind
from kubelet_bridge.devcluster.devhost.qemu.vmispec import Domain, Vmi, wants_uefi
from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.quantity import Quantity

AGENT_CHANNEL = "org.qemu.guest_agent.0"
_MIB = 1 << 20
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
_WATCHDOG_ACTIONS = {"poweroff": "poweroff", "reset": "reset", "shutdown": "shutdown"}
_SERIAL_LENGTH = 20


class Surroundings(msgspec.Struct, frozen=True):
    """What a machine finds on this host.

    Attributes:
        accelerator: QEMU's arguments for it.
        sockets: where its sockets go, as QEMU shall name them.
        console: file that keeps all it says on its serial line.
        files: the file of each disk, by name.
        formats: ``qcow2`` or ``raw``, by name.
        address: of the launcher Pod.
        firmware: UEFI code and variables; None when there is none.
        incoming: socket on which it waits to be sent its memory, and then runs; None: it starts afresh, stopped.
    """

    accelerator: tuple[str, ...]
    sockets: Path
    console: Path
    files: Mapping[str, Path]
    formats: Mapping[str, str]
    address: str
    firmware: tuple[Path, Path] | None = None
    incoming: Path | None = None


def arguments(vmi: Vmi, drives: list[Drive], around: Surroundings) -> list[str]:
    """All of QEMU's arguments.

    Raises:
        Terminal: the VirtualMachineInstance asks for something that cannot be had.
    """
    return [
        "-name", f"guest={vmi.metadata.namespace}_{vmi.metadata.name},debug-threads=on",
        "-machine", "q35,usb=off,dump-guest-core=off", *around.accelerator,
        "-nodefaults", "-no-user-config", "-sandbox", _SANDBOX,
        "-action", "reboot=reset,shutdown=pause,panic=pause",
        *_identity(vmi.spec.domain), *_size(vmi.spec.domain), *_firmware(vmi, around),
        *_disks(drives, around), *network.arguments(vmi, around.address),
        *_consoles(vmi.spec.domain, around), *_extras(vmi.spec.domain),
        *(["-incoming", f"unix:{around.incoming}"] if around.incoming else ["-S"]),
    ]  # fmt: skip


def _identity(domain: Domain) -> list[str]:
    """What a guest reads from its firmware's tables; the product names are KubeVirt's."""
    known = f",uuid={domain.firmware.uuid}" if domain.firmware.uuid else ""
    serial = f",serial={_escaped(domain.firmware.serial)}" if domain.firmware.serial else ""
    uuid = ["-uuid", domain.firmware.uuid] if domain.firmware.uuid else []
    return [*uuid, "-smbios", f"type=1,manufacturer=KubeVirt,product=None,family=KubeVirt{known}{serial}"]


def _size(domain: Domain) -> list[str]:
    cpu = domain.cpu
    sockets, cores, threads = (max(1, number) for number in (cpu.sockets, cpu.cores, cpu.threads))
    wanted = domain.memory.guest or domain.resources.requests.get("memory", "")
    if not wanted:
        raise Terminal("neither memory.guest nor a memory request: no size for the guest", reason="NoMemory")
    mebibytes = -(-Quantity.parse(wanted).ceil() // _MIB)
    total = sockets * cores * threads
    return ["-smp", f"{total},sockets={sockets},cores={cores},threads={threads}", "-m", f"size={mebibytes}M"]


def _firmware(vmi: Vmi, around: Surroundings) -> list[str]:
    if not wants_uefi(vmi):
        return []
    if around.firmware is None:
        raise Terminal("the guest asks for UEFI: install OVMF (Debian: ovmf)", reason="NoFirmware")
    code, variables = around.firmware
    return [
        "-drive", f"if=pflash,format=raw,readonly=on,file={code}",
        "-drive", f"if=pflash,format=raw,file={variables}",
    ]  # fmt: skip


def _disks(drives: list[Drive], around: Surroundings) -> list[str]:
    found: list[str] = []
    found += ["-device", "virtio-scsi-pci,id=scsi0"]  # also for what is plugged in later
    for number, port in enumerate(plugging.PORTS):
        found += ["-device", f"pcie-root-port,id={port},chassis={number + 1}"]
    if any(drive.bus == "usb" for drive in drives):
        found += ["-device", "qemu-xhci,id=usb0"]
    used: Counter[str] = Counter()
    for index, drive in enumerate(drives):
        found += _blockdev(index, drive, around) + _device(index, drive, used[drive.bus])
        used[drive.bus] += 1
    return found


def _blockdev(index: int, drive: Drive, around: Surroundings) -> list[str]:
    """A disk that goes with its guest need never reach the platter: no flush."""
    lasting = isinstance(drive.source, Claimed)
    file = {
        "driver": "file", "filename": str(around.files[drive.name]), "node-name": f"file{index}",
        "read-only": not drive.writable,
    }  # fmt: skip
    node = {
        "driver": around.formats[drive.name], "node-name": f"disk{index}", "file": f"file{index}",
        "read-only": not drive.writable, "cache": {"direct": False, "no-flush": not lasting},
    }  # fmt: skip
    if drive.writable:
        node |= {"discard": "unmap", "detect-zeroes": "unmap"}
    return ["-blockdev", msgspec.json.encode(file).decode(), "-blockdev", msgspec.json.encode(node).decode()]


def _device(index: int, drive: Drive, slot: int) -> list[str]:
    """``slot``: how many disks are on its bus before it."""
    cdrom = drive.kind is Kind.CDROM
    models = {
        "virtio": "virtio-blk-pci", "sata": f"ide-{'cd' if cdrom else 'hd'},bus=ide.{slot}",
        "scsi": f"scsi-{'cd' if cdrom else 'hd'},bus=scsi0.0", "usb": "usb-storage,bus=usb0.0",
    }  # fmt: skip
    serial = f",serial={_escaped(drive.serial[:_SERIAL_LENGTH])}" if drive.serial else ""
    boot = f",bootindex={drive.boot}" if drive.boot else ""
    return ["-device", f"{models[drive.bus]},drive=disk{index},id=ua-{drive.name}{serial}{boot}"]


def _consoles(domain: Domain, around: Surroundings) -> list[str]:
    """Sockets that wait for nobody. QEMU itself keeps the console's log: nothing is lost while nobody listens."""
    console = f"socket,id=serial0,path={around.sockets}/serial,server=on,wait=off,logfile={around.console},logappend=on"
    found = [
        "-chardev", f"socket,id=qmp,path={around.sockets}/qmp,server=on,wait=off", "-mon", "chardev=qmp,mode=control",
        "-chardev", console,
        "-device", "isa-serial,chardev=serial0",
        "-device", "virtio-serial-pci",
        "-chardev", f"socket,id=agent,path={around.sockets}/agent,server=on,wait=off",
        "-device", f"virtserialport,chardev=agent,name={AGENT_CHANNEL}",
    ]  # fmt: skip
    if domain.devices.autoattach_graphics_device is False:
        return [*found, "-display", "none"]
    return [*found, "-vga", "std", "-display", f"vnc=unix:{around.sockets}/vnc"]


def _extras(domain: Domain) -> list[str]:
    """A balloon gives back what the guest has freed; pvpanic tells of a guest kernel's panic."""
    found = ["-device", "virtio-balloon-pci,free-page-reporting=on", "-device", "pvpanic"]
    if domain.devices.rng is not None:
        found += ["-object", "rng-random,id=rng0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng0"]
    if domain.devices.watchdog is not None and (card := domain.devices.watchdog.i6300esb) is not None:
        found += ["-device", "i6300esb", "-action", f"watchdog={_WATCHDOG_ACTIONS.get(card.action, 'reset')}"]
    return found


def _escaped(value: str) -> str:
    """A comma begins the next option; two are one comma."""
    return value.replace(",", ",,")
