"""How large a clone of something has to be: what CDI compares, before it is asked.

For a claim, CDI compares the request of the source with that of the target, to which it has added what a file system
takes for itself (``validateSourcePVC`` in ``pkg/controller/clone/planner.go``); for a snapshot its ``restoreSize`` with
what the DataVolume asks for (``pkg/controller/datavolume/snapshot-clone-controller.go``).
"""

import asyncio
from fractions import Fraction
from typing import Any, TypeVar

import msgspec

from kubelet_bridge.errors import Forbidden, NotFound
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.goldenimage import Origin, OriginKind
from kubelet_bridge.model.quantity import InvalidQuantity, Quantity
from kubelet_bridge.model.resources import (
    CDICONFIGS,
    DATASOURCES,
    PERSISTENTVOLUMECLAIMS,
    VOLUMESNAPSHOTS,
    Resource,
)
from kubelet_bridge.model.storage import PersistentVolumeClaim, VolumeMode

FRESH = 10.0
"""Seconds for which a size serves the next Pod too."""

_CONFIG = "config"
_DEFAULT_OVERHEAD = "0.06"
_ALIGNMENT = 2**20  # CDI's DefaultAlignBlockSize


class _Read(msgspec.Struct, frozen=True, rename="camel"):
    """Base: camelCase, unknown fields skipped."""


class _Named(_Read, frozen=True):
    namespace: str = ""
    name: str = ""


class _Source(_Read, frozen=True):
    pvc: _Named | None = None
    snapshot: _Named | None = None


class _SourceStatus(_Read, frozen=True):
    source: _Source = _Source()


class _DataSource(_Read, frozen=True):
    spec: _SourceStatus = _SourceStatus()
    status: _SourceStatus = _SourceStatus()

    @property
    def current(self) -> _Source:
        """What it stands for now, which an old CDI does not say in the status."""
        found = self.status.source
        return found if found.pvc or found.snapshot else self.spec.source


class _SnapshotStatus(_Read, frozen=True):
    restore_size: str | int | None = None


class _Snapshot(_Read, frozen=True):
    status: _SnapshotStatus = _SnapshotStatus()


class _Overhead(msgspec.Struct, frozen=True):
    share: str = msgspec.field(default=_DEFAULT_OVERHEAD, name="global")
    classes: dict[str, str] = msgspec.field(default_factory=dict, name="storageClass")


class _ConfigStatus(_Read, frozen=True):
    filesystem_overhead: _Overhead = _Overhead()


class _Config(_Read, frozen=True):
    status: _ConfigStatus = _ConfigStatus()


_Kind = TypeVar("_Kind", PersistentVolumeClaim, _DataSource, _Snapshot, _Config)


class DiskSizes:
    """One per node; remembers for a moment what it has read."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[Origin, tuple[float, int]] = {}

    async def of(self, origin: Origin) -> int:
        """Bytes of the smallest DataVolume that is a clone of ``origin``; 0 where it is not there, or not ours to read.

        Raises:
            ApiError: the API server could not be asked.
        """
        now = asyncio.get_running_loop().time()
        self._known = {one: entry for one, entry in self._known.items() if now - entry[0] < FRESH}
        if origin not in self._known:
            self._known[origin] = (now, await self._read(origin))
        return self._known[origin][1]

    async def _read(self, origin: Origin) -> int:
        if origin.kind is OriginKind.CLAIM:
            return await self._claim(_Named(origin.namespace, origin.name))
        found = await self._get(_DataSource, DATASOURCES, _Named(origin.namespace, origin.name))
        source = found.current if found is not None else _Source()
        if source.pvc is not None:
            return await self._claim(source.pvc)
        return await self._snapshot(source.snapshot) if source.snapshot is not None else 0

    async def _claim(self, where: _Named) -> int:
        claim = await self._get(PersistentVolumeClaim, PERSISTENTVOLUMECLAIMS, where)
        if claim is None:
            return 0
        asked = claim.spec.resources.storage.ceil()
        if claim.spec.volume_mode == VolumeMode.BLOCK:
            return asked
        return without_overhead(asked, await self._overhead(claim.spec.storage_class_name or ""))

    async def _overhead(self, storage_class: str) -> str:
        config = await self._get(_Config, CDICONFIGS, _Named(name=_CONFIG)) or _Config()
        known = config.status.filesystem_overhead
        return known.classes.get(storage_class, known.share)

    async def _snapshot(self, where: _Named) -> int:
        found = await self._get(_Snapshot, VOLUMESNAPSHOTS, where)
        try:
            return Quantity.parse((found.status.restore_size if found else None) or 0).ceil()
        except InvalidQuantity:
            return 0

    async def _get(self, kind: type[_Kind], resource: Resource, where: _Named) -> _Kind | None:
        try:
            raw: Any = await self._client.get(resource, where.namespace or None, where.name)
        except (NotFound, Forbidden):
            return None
        return msgspec.json.decode(raw, type=kind)


def without_overhead(size: int, overhead: str) -> int:
    """The largest image for which CDI makes a claim of ``size`` bytes with a file system, in whole MiB.

    ``GetRequiredSpace`` in CDI's ``pkg/util``: claim = ceil(image x (1 + overhead)), the image in whole MiB.
    """
    try:
        share = max(Fraction(0), Fraction(overhead))
    except ValueError:
        share = Fraction(_DEFAULT_OVERHEAD)
    inside = int(size / (1 + share))
    return -(-inside // _ALIGNMENT) * _ALIGNMENT
