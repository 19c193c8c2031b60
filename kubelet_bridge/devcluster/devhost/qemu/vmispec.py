"""The fields of a VirtualMachineInstance that a machine is built from (kubevirt.io/api/core/v1)."""

from datetime import datetime
from typing import Any

import msgspec


class _Camel(msgspec.Struct, frozen=True, rename="camel"):
    pass


class Bus(_Camel, frozen=True):
    """``disk``, ``cdrom`` or ``lun`` of a disk: how the guest sees it."""

    bus: str = ""
    readonly: bool | None = None


class Disk(_Camel, frozen=True):
    """One entry of ``devices.disks``; its volume has the same name."""

    name: str
    disk: Bus | None = None
    cdrom: Bus | None = None
    lun: Bus | None = None
    serial: str = ""
    boot_order: int | None = None


class Port(_Camel, frozen=True):
    """A port of the guest that is reachable from outside."""

    port: int
    protocol: str = "TCP"


class Interface(_Camel, frozen=True):
    """A network card. ``ports``: none declared means every port."""

    name: str
    mac_address: str = ""
    model: str = "virtio"
    ports: list[Port] = []


class Network(_Camel, frozen=True):
    """What a network card is plugged into."""

    name: str
    pod: dict[str, Any] | None = None


class ContainerDisk(_Camel, frozen=True):
    """A disk out of a container image."""

    image: str


class EmptyDisk(_Camel, frozen=True):
    """A disk that lives as long as the VirtualMachineInstance."""

    capacity: str


class Reference(_Camel, frozen=True):
    """A Secret or a ConfigMap, by name."""

    name: str = ""


class CloudInit(_Camel, frozen=True):
    """``cloudInitNoCloud`` or ``cloudInitConfigDrive``: documents given here, in Base64, or in a Secret."""

    secret_ref: Reference | None = None
    user_data: str = ""
    user_data_base64: str = msgspec.field(default="", name="userDataBase64")
    network_data_secret_ref: Reference | None = None
    network_data: str = ""
    network_data_base64: str = msgspec.field(default="", name="networkDataBase64")


class Claim(_Camel, frozen=True):
    """A PersistentVolumeClaim."""

    claim_name: str


class ConfigMapVolume(_Camel, frozen=True):
    """A ConfigMap as a disk of files."""

    name: str = ""
    volume_label: str = ""


class SecretVolume(_Camel, frozen=True):
    """A Secret as a disk of files."""

    secret_name: str = ""
    volume_label: str = ""


class Volume(_Camel, frozen=True):
    """What is on a disk: one of these."""

    name: str
    container_disk: ContainerDisk | None = None
    empty_disk: EmptyDisk | None = None
    cloud_init_no_cloud: CloudInit | None = None
    cloud_init_config_drive: CloudInit | None = None
    persistent_volume_claim: Claim | None = None
    data_volume: Reference | None = None
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None


class Cpu(_Camel, frozen=True):
    """Processors: the product of the three."""

    sockets: int = 1
    cores: int = 1
    threads: int = 1


class Memory(_Camel, frozen=True):
    """``guest``: what the guest sees, as a quantity."""

    guest: str = ""


class Resources(_Camel, frozen=True):
    """What the launcher asks for; the guest's size when nothing else says."""

    requests: dict[str, str] = {}


class Bootloader(_Camel, frozen=True):
    """``efi``: boot by UEFI instead of a BIOS."""

    efi: dict[str, Any] | None = None


class Firmware(_Camel, frozen=True):
    """Identity of the machine, and what boots it."""

    uuid: str = ""
    serial: str = ""
    bootloader: Bootloader | None = None


class I6300esb(_Camel, frozen=True):
    """``action``: poweroff, reset or shutdown."""

    action: str = "reset"


class Watchdog(_Camel, frozen=True):
    """A watchdog card."""

    i6300esb: I6300esb | None = None


class Devices(_Camel, frozen=True):
    """The machine's devices."""

    disks: list[Disk] = []
    interfaces: list[Interface] = []
    rng: dict[str, Any] | None = None
    watchdog: Watchdog | None = None
    autoattach_graphics_device: bool | None = None


class Domain(_Camel, frozen=True):
    """The machine."""

    devices: Devices = Devices()
    cpu: Cpu = Cpu()
    memory: Memory = Memory()
    resources: Resources = Resources()
    firmware: Firmware = Firmware()


class Spec(_Camel, frozen=True):
    """``spec``."""

    domain: Domain = Domain()
    volumes: list[Volume] = []
    networks: list[Network] = []
    hostname: str = ""


class ClaimInfo(_Camel, frozen=True):
    """What virt-controller found out about a claim."""

    capacity: dict[str, str] = {}
    requests: dict[str, str] = {}
    filesystem_overhead: str = ""


class HotplugVolume(_Camel, frozen=True):
    """The attachment Pod that brings a volume to the host of a running guest."""

    attach_pod_name: str = ""
    attach_pod_uid: str = msgspec.field(default="", name="attachPodUID")


class VolumeStatus(_Camel, frozen=True):
    """``status.volumeStatus``. A volume with a ``hotplug_volume`` comes after the machine was started, or has to."""

    name: str
    persistent_volume_claim_info: ClaimInfo | None = None
    hotplug_volume: HotplugVolume | None = None
    phase: str = ""


class Transition(_Camel, frozen=True):
    """When a phase began."""

    phase: str
    phase_transition_timestamp: datetime


class Status(_Camel, frozen=True):
    """``status``."""

    volume_status: list[VolumeStatus] = []
    phase_transition_timestamps: list[Transition] = []


class Metadata(_Camel, frozen=True):
    """``metadata``."""

    name: str
    namespace: str
    uid: str
    annotations: dict[str, str] = {}


class Vmi(_Camel, frozen=True):
    """A VirtualMachineInstance."""

    metadata: Metadata
    spec: Spec
    status: Status = Status()


_DECODER = msgspec.json.Decoder(Vmi)


def decode(raw: bytes) -> Vmi:
    """The machine-building part of a VirtualMachineInstance."""
    return _DECODER.decode(raw)


def started_at(raw: bytes) -> datetime | None:
    """When a VirtualMachineInstance began to run; None when it has not."""
    transitions = decode(raw).status.phase_transition_timestamps
    return next((one.phase_transition_timestamp for one in transitions if one.phase == "Running"), None)


def wants_uefi(vmi: Vmi) -> bool:
    """Whether it is to boot by UEFI."""
    bootloader = vmi.spec.domain.firmware.bootloader
    return bootloader is not None and bootloader.efi is not None
