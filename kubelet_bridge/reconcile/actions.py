"""The steps the planner may ask for. Each may be repeated without harm; after each one the plan is made again."""

from typing import Any

import msgspec

from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.snapshot import PodEvent
from kubelet_bridge.translate.config import ImageDisks
from kubelet_bridge.translate.image import BootImage
from kubelet_bridge.translate.podstatus import Problem
from kubelet_bridge.translate.virtualmachine import Manifests


class Accept(msgspec.Struct, frozen=True):
    """Commit the first row for a Pod: before anything is written to the cluster for it."""

    intent: Intent


class Record(msgspec.Struct, frozen=True):
    """Commit a changed row, and say why in its history."""

    intent: Intent
    reason: str


class LookUp(msgspec.Struct, frozen=True):
    """Read the ConfigMaps, Secrets and Services that the Pod's spec points at."""


class LookAtVolumes(msgspec.Struct, frozen=True):
    """Read the PersistentVolumes of claims that the VM has as disks."""

    claims: tuple[str, ...]


class Plug(msgspec.Struct, frozen=True):
    """Ask KubeVirt to plug a disk into the VM and to keep it there.

    Attributes:
        options: KubeVirt's ``AddVolumeOptions``.
        alone: the claim, if no other VM may have it meanwhile, with whether this one only reads.
    """

    vm: str
    name: str
    options: dict[str, Any]
    alone: dict[str, bool] = {}


class Unplug(msgspec.Struct, frozen=True):
    """Ask KubeVirt to unplug a disk of ours, and to keep it out of the next boot."""

    vm: str
    name: str


class SelectNode(msgspec.Struct, frozen=True):
    """Say of a claim that waits for its first consumer that this is here, as the scheduler does for a Pod's volumes."""

    claim: str
    uid: str
    node: str


class ConfirmVm(msgspec.Struct, frozen=True):
    """Ask the API server whether the VM is there: an absence in the cache proves nothing."""

    name: str


class MakeRootDisk(msgspec.Struct, frozen=True):
    """Make the disk that the VM boots from, or the golden image that it is cloned of, unless it is there."""

    boot: BootImage
    disks: ImageDisks
    node: str


class Create(msgspec.Struct, frozen=True):
    """Apply the Secret and create the VM, unless a VM of that name exists."""

    manifests: Manifests


class Update(msgspec.Struct, frozen=True):
    """Apply the Secret and the VM that exists, as that incarnation."""

    manifests: Manifests
    vm_uid: str


class Claim(msgspec.Struct, frozen=True):
    """Bring back the marks that make the VM this Pod's: without them neither we nor the garbage collector find it."""

    name: str
    uid: str
    marks: dict[str, Any]


class ReplaceInstance(msgspec.Struct, frozen=True):
    """Delete one boot of the VM, so that KubeVirt starts the next from the new spec."""

    name: str
    uid: str


class StopVm(msgspec.Struct, frozen=True):
    """Shorten the guest's grace period, in seconds, before or during deletion."""

    intent: Intent
    grace: int


class DeleteVm(msgspec.Struct, frozen=True):
    """Delete one incarnation of the VM; KubeVirt stops the guest within its grace period."""

    name: str
    uid: str


class FinalizePod(msgspec.Struct, frozen=True):
    """Everything is stopped and the terminal status is written: remove the Pod object, this incarnation only."""


class Forget(msgspec.Struct, frozen=True):
    """Nothing is left in the cluster: turn the row into a tombstone."""

    reason: str


Step = (
    Accept
    | Record
    | LookUp
    | LookAtVolumes
    | Plug
    | Unplug
    | SelectNode
    | ConfirmVm
    | MakeRootDisk
    | Create
    | Update
    | Claim
    | ReplaceInstance
    | StopVm
    | DeleteVm
    | FinalizePod
    | Forget
)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do next.

    Attributes:
        step: the one next step; None when there is nothing to do but wait.
        problem: what keeps the Pod from becoming a VM now, for its status.
        notes: events that go with the problem.
        requeue_after: look again after so many seconds, events or not.
    """

    step: Step | None = None
    problem: Problem | None = None
    notes: list[PodEvent] = []
    requeue_after: float | None = None
