"""What the disks' corridor needs of the world, as Protocols. ``daemon`` plugs the adapters in."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Protocol

from kubelet_bridge.model.snapshot import PodEvent
from kubelet_bridge.model.storage import DataVolume, PersistentVolume, PersistentVolumeClaim
from kubelet_bridge.model.volumeintent import VolumeIntent, VolumeKey
from kubelet_bridge.model.volumesnapshot import ImageOffer, Part, VolumeInputs, VolumeSnapshot

Json = dict[str, Any]

NO_CDI = "NoCDI"
"""Reason of the ``errors.Transient`` by which a cluster without DataVolumes is told from one without *that* one."""


class StoragePort(Protocol):
    """Claims, volumes and DataVolumes: a cached view, reads that confirm, and the writes of a disk's life.

    Every coroutine raises ``errors.ApiError``. A write that names a uid does nothing to an object of another one, or
    to none: the next plan is made from what is there then.
    """

    def load(self, key: VolumeKey, intent: VolumeIntent | None) -> VolumeSnapshot:
        """The cached world of one disk. Its claim is the one that its PersistentVolume names, if there is that."""
        ...

    def keys(self) -> Iterable[VolumeKey]:
        """Every claim in the cache that asks for a disk of ours."""
        ...

    async def inputs(self, claim: PersistentVolumeClaim) -> VolumeInputs:
        """What the claim points at, but for its image."""
        ...

    async def confirm(self, snapshot: VolumeSnapshot, part: Part) -> VolumeSnapshot:
        """The snapshot with what a GET found of ``part``, or with ``part`` among the absent ones on a 404 for it.

        A 404 for its kind is no answer: then ``errors.Transient`` with the reason ``NO_CDI``.
        """
        ...

    async def create_datavolume(self, namespace: str, manifest: Json) -> DataVolume:
        """Create it; ``errors.AlreadyExists`` when one of that name is there, whoever made it."""
        ...

    async def create_volume(self, manifest: Json) -> PersistentVolume:
        """Create it; ``errors.AlreadyExists`` likewise."""
        ...

    async def mark_volume(self, name: str, marks: Json, *, uid: str) -> None:
        """Merge ``marks`` into the PersistentVolume's metadata; a ``resourceVersion`` among them has to be the one."""
        ...

    async def grow_volume(self, name: str, size: int, *, uid: str) -> None:
        """Write another capacity, bytes."""
        ...

    async def grow_claim(self, namespace: str, name: str, size: int, *, uid: str) -> None:
        """Ask for more on a claim, bytes; ``errors.Forbidden`` or ``errors.Invalid`` where its class forbids it."""
        ...

    async def patch_claim_status(self, claim: PersistentVolumeClaim, patch: Json) -> None:
        """Strategic merge patch of ``persistentvolumeclaims/status``."""
        ...

    async def unselect_node(self, claim: PersistentVolumeClaim) -> None:
        """Remove the annotation by which the scheduler selected a node, from the claim as we know it."""
        ...

    async def delete_datavolume(self, namespace: str, name: str, *, uid: str) -> None:
        """Delete this incarnation."""
        ...

    async def delete_volume(self, name: str, *, uid: str) -> None:
        """Delete this incarnation."""
        ...


class VolumeIntentPort(Protocol):
    """The store of volume intents. Every coroutine raises ``errors.Transient`` while the disk takes no writes."""

    def get(self, uid: str) -> VolumeIntent | None:
        """The live row of a claim's uid."""
        ...

    def live(self) -> list[VolumeIntent]:
        """Every row that is not a tombstone."""
        ...

    def new_id(self) -> str:
        """A readable id that no row has."""
        ...

    async def save(self, intent: VolumeIntent, *, reason: str, now: datetime) -> None:
        """Return once the row is on disk."""
        ...

    async def destroy(self, uid: str, *, reason: str, now: datetime) -> None:
        """Return once the tombstone is on disk."""
        ...


class ImagePort(Protocol):
    """The image catalogue."""

    async def offer(self, name: str, size: int) -> ImageOffer:
        """How a disk of ``size`` bytes can begin with the image ``name``.

        Asked again until it can: the image may have to be fetched first.

        Raises:
            ApiError: the API server refused, or could not be asked.
        """
        ...


class ClaimEventPort(Protocol):
    """Where events about claims go. Never blocks, never fails."""

    def record_on_claim(self, key: VolumeKey, events: Iterable[PodEvent]) -> None:
        """Post the events, aggregated."""
        ...
