"""Figures of usage: what a machine told at a moment (``Sample``), and what is made of such samples (``…Figures``).

Times are nanoseconds since the epoch, CPU time is nanoseconds of one core, sizes are bytes. None: nobody knows.
"""

from enum import StrEnum

import msgspec


class _Value(msgspec.Struct, frozen=True, gc=False):
    """Base. None of these can be part of a cycle, and with ten thousand Pods a collector's look at each takes long."""


class Source(StrEnum):
    """Who measured. The counters of two sources have nothing to do with each other."""

    AGENT = "agent"
    KUBEVIRT = "kubevirt"


class Usage(_Value, frozen=True, gc=False):
    """What a machine or a container has used (``cpu``: since it began) and uses.

    ``working_set`` is memory less what the kernel could drop at once, as a kubelet has it; ``processes`` are threads.
    """

    cpu: int | None = None
    memory: int | None = None
    working_set: int | None = None
    rss: int | None = None
    processes: int | None = None


class ContainerSample(_Value, frozen=True, gc=False):
    """One run of a container; ``started_at`` is by the clock of who measured, and tells runs apart."""

    name: str
    started_at: int
    usage: Usage
    rootfs: int | None = None
    logs: int | None = None


class FilesystemSample(_Value, frozen=True, gc=False):
    """One that is mounted in the guest."""

    device: str
    mount_point: str
    total: int
    used: int
    inodes: int = 0
    inodes_used: int = 0


class InterfaceSample(_Value, frozen=True, gc=False):
    """A network interface of the guest: what it has received and sent since it is there."""

    name: str
    rx_bytes: int
    tx_bytes: int
    rx_errors: int = 0
    tx_errors: int = 0


class Sample(_Value, frozen=True, gc=False, kw_only=True):
    """Figures of one machine at one moment.

    Attributes:
        at: when it arrived, by our clock: a guest's own may be anywhere.
        taken_at: by the clock of who measured.
        instance: uid of the VMI; another one is another boot of the VM. Empty when that is not known.
        epoch: of the source's counters, which begin anew with another: the kernel's boot id, or instance and host.
    """

    at: int
    taken_at: int
    source: Source
    instance: str = ""
    epoch: str = ""
    machine: Usage = Usage()
    containers: tuple[ContainerSample, ...] = ()
    filesystems: tuple[FilesystemSample, ...] = ()
    interfaces: tuple[InterfaceSample, ...] = ()


class Figures(_Value, frozen=True, gc=False, kw_only=True):
    """What is published of a node, Pod or container.

    Attributes:
        at: the moment of all of it.
        cpu: never goes down while what it is about lives.
        rate: nanocores between the last two samples; None after the first.
    """

    at: int
    cpu: int | None = None
    rate: int | None = None
    memory: int | None = None
    working_set: int | None = None
    rss: int | None = None
    processes: int | None = None


class ContainerFigures(_Value, frozen=True, gc=False, kw_only=True):
    """Of one run of a container; ``started_at`` is by our clock, and another one means that ``cpu`` began anew."""

    name: str
    started_at: int
    figures: Figures
    rootfs: int | None = None
    logs: int | None = None


class MachineFigures(_Value, frozen=True, gc=False, kw_only=True):
    """Of one machine.

    Attributes:
        machine: since the machine was first seen, across its boots.
        source: who told last; None when nobody has since the bridge began.
        instance: uid of the VMI that is the current one; empty when that is not known.
        boot: the same as ``machine``, of that instance only.
        interfaces: counters that never go down.
    """

    machine: Figures
    boot: Figures
    source: Source | None = None
    instance: str = ""
    containers: tuple[ContainerFigures, ...] = ()
    filesystems: tuple[FilesystemSample, ...] = ()
    interfaces: tuple[InterfaceSample, ...] = ()


class ContainerFacts(_Value, frozen=True, gc=False, kw_only=True):
    """What a Pod says of one of its containers.

    Attributes:
        started_at: of the run that goes on; None when it does not run.
        is_machine: the container is a name for the VM itself.
        cpu_limit, cpu_request: millicores.
        machine: uid of the machine that is this container's only, in a Pod that has several; else empty.
    """

    name: str
    image: str = ""
    id: str = ""
    started_at: int | None = None
    is_machine: bool = False
    cpu_limit: int | None = None
    cpu_request: int | None = None
    memory_limit: int | None = None
    memory_request: int | None = None
    machine: str = ""


class VolumeFacts(_Value, frozen=True, gc=False):
    """A volume that may have a file system of its own; ``paths`` are where containers see it."""

    name: str
    claim: str = ""
    paths: tuple[str, ...] = ()


class PodFacts(_Value, frozen=True, gc=False, kw_only=True):
    """What a Pod says of itself, as far as figures are named after it."""

    namespace: str
    name: str
    uid: str
    started_at: int
    containers: tuple[ContainerFacts, ...] = ()
    volumes: tuple[VolumeFacts, ...] = ()


class ContainerUsage(_Value, frozen=True, gc=False):
    """A container of the Pod that is known to run, and its figures."""

    facts: ContainerFacts
    figures: ContainerFigures


class VolumeUsage(_Value, frozen=True, gc=False):
    """A volume of the Pod, and the file system that it is."""

    facts: VolumeFacts
    at: int
    filesystem: FilesystemSample


class PodUsage(_Value, frozen=True, gc=False, kw_only=True):
    """Everything that is known of one Pod; ``figures`` is None when no machine of it has told anything lately."""

    facts: PodFacts
    figures: Figures | None = None
    containers: tuple[ContainerUsage, ...] = ()
    volumes: tuple[VolumeUsage, ...] = ()
    interfaces: tuple[InterfaceSample, ...] = ()


class DiskUsage(_Value, frozen=True, gc=False):
    """The file system that the bridge itself writes to."""

    at: int
    total: int
    available: int
    inodes: int
    inodes_free: int


class Totals(_Value, frozen=True, gc=False, kw_only=True):
    """What is counted of the whole node, at one moment.

    Attributes:
        cpu, network: of all machines, those included that are gone.
        latest: when the newest figures are from.
    """

    cpu: int
    network: InterfaceSample
    latest: int
    bridge: Figures | None
    started_at: int
    process_started_at: int


class NodeUsage(_Value, frozen=True, gc=False, kw_only=True):
    """The whole node.

    Attributes:
        figures: the machines', those that are gone (CPU only), and the bridge's own.
        bridge: this process's part of that.
        started_at: since when is counted.
        process_started_at: when this process began.
        cores, memory: the node's capacity.
    """

    name: str
    figures: Figures
    bridge: Figures
    started_at: int
    process_started_at: int
    pods: tuple[PodUsage, ...] = ()
    interfaces: tuple[InterfaceSample, ...] = ()
    disk: DiskUsage | None = None
    cores: int = 0
    memory: int = 0
