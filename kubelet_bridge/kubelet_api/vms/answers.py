"""The JSON of ``/vms``. Names stay once they are there; times are RFC 3339 in UTC, sizes bytes.

``stale_since`` is in an answer while the cluster cannot be watched: what it says of the cluster is as old as that.
"""

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType


class Vm(msgspec.Struct, frozen=True, kw_only=True):
    """One intent: what was promised for a Pod, or for one container where each has a VM of its own.

    Attributes:
        id: ``dpl_`` and 8 characters.
        uid: of the Pod, or of the container's machine.
        namespace: of the Pod.
        name: of the Pod.
        container: whose machine it is; empty where the VM is for the whole Pod.
        pod_uid: with ``container``, the Pod's uid.
        status: provisioning, running, off or destroyed.
        vm_name: of the VirtualMachine; empty before there is one, and where each container has its own.
        vmi_uid: of the boot that counts now.
        hosting: machine, system or oci: what runs the containers.
        boot_image: what the VM boots from.
        restart_count: boots after the first.
        cpu: vCPUs.
        outcome: Succeeded or Failed, once that is decided.
        destroyed_at: null for the living.
    """

    id: str
    uid: str
    namespace: str
    name: str
    container: str
    pod_uid: str
    status: str
    vm_name: str
    vm_uid: str
    vmi_uid: str
    hosting: str
    boot_image: str
    restart_count: int
    cpu: int
    memory: int
    disk: int
    mac: str
    ports: list[int]
    outcome: str
    outcome_reason: str
    outcome_message: str
    accepted_at: datetime
    updated_at: datetime
    destroyed_at: datetime | None


class Boot(msgspec.Struct, frozen=True):
    """One boot of the VM; no ``exit_code`` while it has not ended."""

    vmi_uid: str
    started_at: datetime | None
    finished_at: datetime | None
    exit_code: int | None
    reason: str


class Cluster(msgspec.Struct, frozen=True):
    """What KubeVirt says of the VM, as last seen.

    Attributes:
        printable_status: of the VirtualMachine.
        phase: of its instance; empty without one.
        host_node: on which that runs.
        addresses: of its interfaces, as KubeVirt has them.
    """

    printable_status: str = ""
    phase: str = ""
    host_node: str = ""
    addresses: list[str] = []


class VmDetail(Vm, frozen=True, kw_only=True):
    """One intent and all that is known of it now; no ``cluster`` where KubeVirt has no such VM."""

    boots: list[Boot]
    cluster: Cluster | None
    stale_since: datetime | UnsetType = UNSET


class VmList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of intents, by namespace, name and age; ``continue`` is empty on the last one."""

    items: list[Vm]
    continue_: str = msgspec.field(name="continue", default="")
    stale_since: datetime | UnsetType = UNSET


class Change(msgspec.Struct, frozen=True):
    """One change of an intent's status; ``from_status`` is empty for the first."""

    at: datetime
    from_status: str
    to_status: str
    reason: str


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Oldest first."""

    items: list[Change]
    stale_since: datetime | UnsetType = UNSET


class VmAction(msgspec.Struct, frozen=True):
    """A one-shot action that was asked for: pending, done, failed, or dropped because the VM was destroyed first."""

    nonce: str
    action: str
    requested_at: datetime
    state: str
    result: str


class Actions(msgspec.Struct, frozen=True, kw_only=True):
    """Oldest first."""

    items: list[VmAction]
    stale_since: datetime | UnsetType = UNSET


class OperatingSystem(msgspec.Struct, frozen=True, kw_only=True):
    """As os-release and uname have it in the guest."""

    id: str
    version_id: str
    pretty_name: str
    kernel_release: str
    machine: str
    timezone: str
    init_system: str


class Filesystem(msgspec.Struct, frozen=True, kw_only=True):
    """One that is mounted in the guest."""

    device: str
    mount_point: str
    type: str
    total: int
    used: int


class GuestInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent in the guest has told; it stays when the agent goes.

    Attributes:
        connected: whether it is there now.
        outdated: whether it speaks the protocol of an older bridge.
        since: when ``connected`` last changed.
        memory: of the guest, in bytes.
    """

    connected: bool
    outdated: bool
    since: datetime | None
    agent_version: str
    agent_digest: str
    boot_id: str
    hostname: str
    os: OperatingSystem
    addresses: list[str]
    users: list[str]
    filesystems: list[Filesystem]
    cpus: int
    memory: int
    stale_since: datetime | UnsetType = UNSET
