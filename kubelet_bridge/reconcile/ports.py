"""What ``reconcile`` needs of the world, as Protocols. ``daemon`` plugs the adapters in."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.goldenimage import Disk, Origin, Shelf
from kubelet_bridge.model.guest import Guest
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.kubevirt import VirtualMachine
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.snapshot import Inputs, PodEvent, Snapshot, TokenWanted
from kubelet_bridge.model.storage import PersistentVolume


class ClusterPort(Protocol):
    """The cluster as seen from one node: a cached view, reads that confirm, and the few writes that a Pod's life needs.

    Every coroutine raises ``errors.ApiError``.
    """

    async def load(self, key: PodKey, *, vm_name: str, promised: bool) -> Snapshot:
        """The cached world of one Pod, or of one machine of it, without its intent.

        A Pod missing from the cache is asked for with a GET if something hangs on it: a row (``promised``), or
        anything in the cluster. Another VM called ``vm_name`` is the snapshot's squatter.
        """
        ...

    def keys(self) -> Iterable[PodKey]:
        """Every Pod incarnation that a cached Pod, VM, VMI or launcher speaks of."""
        ...

    def containers(self, key: PodKey) -> set[str]:
        """The containers of this Pod that have, by a cached VM, VMI or launcher, a machine of their own."""
        ...

    async def inputs(self, pod: Pod) -> Inputs:
        """The ConfigMaps, Secrets and Services that the Pod's spec points at."""
        ...

    async def volumes(self, namespace: str, claims: Iterable[str]) -> dict[str, PersistentVolume]:
        """By claim of ``namespace``: the PersistentVolume it is bound to, by GETs; a claim without one is left out."""
        ...

    def give_back_disks(self, key: PodKey, claims: Iterable[str] | None = None) -> None:
        """The VM of ``key`` has the claims that were taken for it, or will not have them."""
        ...

    async def service_account_token(self, pod: Pod, wanted: TokenWanted) -> str | None:
        """A token of the Pod's ServiceAccount, bound to the Pod and good for a while; None when there is none.

        Asked for again, it is another one only when the last grows old. ``errors.Forbidden`` when we may not ask.
        """
        ...

    async def get_vm(self, namespace: str, name: str) -> VirtualMachine | None:
        """The VirtualMachine of that name, asked for with a GET; None when the API server says 404."""
        ...

    async def get_disk(self, namespace: str, name: str) -> Disk | None:
        """The DataVolume of that name, asked for with a GET; None when the API server says 404."""
        ...

    async def create_disk(self, namespace: str, manifest: dict[str, Any]) -> None:
        """Create a DataVolume; ``errors.AlreadyExists`` when one of that name is there, whoever made it."""
        ...

    async def shelf(self, namespaces: Iterable[str]) -> Shelf:
        """The DataVolumes and DataSources of these namespaces, as of a moment ago; nothing of what we may not read."""
        ...

    async def origin_size(self, origin: Origin) -> int:
        """Bytes of the smallest DataVolume that CDI makes a clone of ``origin``, as of a moment ago; 0: not known."""
        ...

    async def take_disks(self, key: PodKey, wanted: Mapping[str, bool]) -> list[str]:
        """Let the VM of ``key`` be the only one that writes to these claims, each with whether it only reads.

        In words, what keeps it from that; then it has none of them. Taken once, they may be taken again.
        """
        ...

    async def apply_secret(self, namespace: str, manifest: dict[str, Any]) -> None:
        """Server-side apply of the cloud-init Secret."""
        ...

    async def create_vm(self, namespace: str, manifest: dict[str, Any]) -> VirtualMachine:
        """Create a VM; ``errors.AlreadyExists`` when one of that name is there, whoever made it."""
        ...

    async def apply_vm(self, namespace: str, manifest: dict[str, Any], *, uid: str) -> VirtualMachine:
        """Server-side apply of a VM that exists with this uid; ``errors.Conflict`` when it is another."""
        ...

    async def mark_vm(self, namespace: str, name: str, marks: dict[str, Any], *, uid: str) -> VirtualMachine:
        """Merge ``marks`` into the metadata of the VM of this uid; ``errors.Conflict`` when it is another."""
        ...

    async def plug(self, namespace: str, name: str, options: dict[str, Any]) -> VirtualMachine:
        """Plug a disk into a VM (``AddVolumeOptions``) and return that; ``errors.Conflict`` when it has such a one."""
        ...

    async def unplug(self, namespace: str, name: str, disk: str) -> VirtualMachine:
        """Unplug a disk of a VM and return that; ``errors.Conflict`` when it has no such one."""
        ...

    async def select_node(self, namespace: str, claim: str, node: str, *, uid: str) -> None:
        """Say where the first consumer of the claim of this uid will be; no error when it is another, or gone."""
        ...

    async def stop_vm(self, namespace: str, name: str, *, grace: int) -> None:
        """Give the running guest ``grace`` seconds; no error when it does not run."""
        ...

    async def delete_vm(self, namespace: str, name: str, *, uid: str) -> None:
        """Delete this incarnation of a VM; no error when it is gone."""
        ...

    async def delete_vmi(self, namespace: str, name: str, *, uid: str) -> None:
        """Delete one boot of a VM; no error when it is gone."""
        ...

    async def patch_status(self, key: PodKey, patch: dict[str, Any]) -> Pod | None:
        """Strategic merge patch of ``pods/status``; None when this incarnation is gone."""
        ...

    async def delete_pod(self, key: PodKey) -> None:
        """Remove this incarnation of the Pod object at once; no error when it is gone."""
        ...


class IntentPort(Protocol):
    """The store. Every coroutine raises ``errors.Transient`` while the disk does not take writes."""

    def get(self, uid: str) -> Intent | None:
        """The live row of a Pod uid."""
        ...

    def live(self) -> list[Intent]:
        """Every row that is not a tombstone."""
        ...

    def machines(self, uid: str) -> list[Intent]:
        """The live rows of the machines of a Pod uid."""
        ...

    def new_id(self) -> str:
        """A readable id that no row has."""
        ...

    async def save(self, intent: Intent, *, reason: str, now: datetime) -> None:
        """Return once the row is on disk."""
        ...

    async def destroy(self, uid: str, *, reason: str, now: datetime) -> None:
        """Return once the tombstone is on disk."""
        ...


class GuestPort(Protocol):
    """The guests' agents. Nothing here waits for a guest."""

    def get(self, uid: str) -> Guest | None:
        """What is known of the guest of a Pod uid; None when no agent belongs to it."""
        ...

    def expect(self, key: PodKey, *, boot: str) -> None:
        """The Pod has a VM whose current boot is ``boot`` (the VMI's uid; empty while it has none).

        Its agent may connect from now on, and its boot token is good once more for each new boot. Repeating it is
        harmless.
        """
        ...

    def refresh(self, key: PodKey) -> None:
        """What the guest's manifest is made of may have changed: make it again, and send it if it did."""
        ...

    def shut_down(self, uid: str, *, grace: int, reason: str) -> None:
        """Ask the agent to stop its containers in order within ``grace`` seconds, if it is connected."""
        ...

    async def forget(self, uid: str) -> None:
        """The Pod is gone: its tokens are good for nothing, its logs and its last report are removed."""
        ...


class EventPort(Protocol):
    """Where events about Pods go. Never blocks, never fails: events are for people."""

    def record(self, key: PodKey, events: Iterable[PodEvent]) -> None:
        """Post the events, aggregated, on the Pod, also when the key is that of a machine of it."""
        ...


class Clock(Protocol):
    """The current time."""

    def __call__(self) -> datetime:
        """Now, with a zone."""
        ...
