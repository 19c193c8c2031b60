"""DataVolumes and DataSources, read when a VM's disk is to be made: no node should watch every disk of a cluster.

Sources of names: ``pkg/apis/core/v1beta1/types.go`` in containerized-data-importer-api.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from kubelet_bridge.errors import Forbidden, NotFound
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.goldenimage import DataSource, Disk, Shelf
from kubelet_bridge.model.meta import FIELD_MANAGER, Condition, ObjectMeta
from kubelet_bridge.model.quantity import InvalidQuantity, Quantity
from kubelet_bridge.model.resources import DATASOURCES, DATAVOLUMES, Resource
from kubelet_bridge.model.storage import DataVolume, DataVolumeSpec, VolumeMode
from kubelet_bridge.translate.storage import progress

SHELF_FRESH = 10.0
"""Seconds for which what is ready made serves the next Pod too."""


class _Read(msgspec.Struct, frozen=True, rename="camel"):
    """Base: camelCase, unknown fields skipped."""


class _Resources(_Read, frozen=True):
    requests: dict[str, str | int | float] = {}


class _Storage(_Read, frozen=True):
    resources: _Resources = _Resources()


class _Claim(_Storage, frozen=True):
    volume_mode: str = VolumeMode.FILESYSTEM.value


class _Spec(DataVolumeSpec, frozen=True):
    storage: _Storage | None = None
    pvc: _Claim | None = None


class _Status(_Read, frozen=True):
    conditions: list[Condition] = []


class _DataVolume(DataVolume, frozen=True):
    spec: _Spec = _Spec()


class _DataSource(_Read, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    status: _Status = _Status()


_Kind = TypeVar("_Kind", _DataVolume, _DataSource)


class _List(msgspec.Struct):
    items: list[msgspec.Raw] = []


class DiskReader:
    """One per node; remembers for a moment what the cluster has ready made."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._turn = asyncio.Lock()
        self._shelf = Shelf()
        self._read_at: dict[tuple[str, ...], float] = {}

    async def get(self, namespace: str, name: str) -> Disk | None:
        """The DataVolume of that name; None when the API server says 404."""
        try:
            raw = await self._client.get(DATAVOLUMES, namespace, name)
        except NotFound:
            return None
        return _disk(msgspec.json.decode(raw, type=_DataVolume))

    async def create(self, namespace: str, manifest: dict[str, Any]) -> None:
        """Create a DataVolume; ``errors.AlreadyExists`` when one of that name is there."""
        await self._client.request(
            "POST", DATAVOLUMES.path(namespace), body=msgspec.json.encode(manifest),
            params={"fieldManager": FIELD_MANAGER}, label=("create", DATAVOLUMES.plural),
        )  # fmt: skip

    async def shelf(self, namespaces: Iterable[str]) -> Shelf:
        """What these namespaces have; nothing of those that we may not read, or of a cluster without CDI."""
        clock, wanted = asyncio.get_running_loop().time, tuple(namespaces)
        async with self._turn:
            if wanted and clock() - self._read_at.get(wanted, -SHELF_FRESH) >= SHELF_FRESH:
                volumes = [one for place in wanted for one in await self._list(DATAVOLUMES, place, _DataVolume)]
                sources = [one for place in wanted for one in await self._list(DATASOURCES, place, _DataSource)]
                self._shelf = Shelf(tuple(map(_disk, volumes)), tuple(map(_source, sources)))
                self._read_at = {wanted: clock()}
            return self._shelf if wanted else Shelf()

    async def _list(self, resource: Resource, namespace: str, kind: type[_Kind]) -> list[_Kind]:
        try:
            body = await self._client.list(resource, namespace)
        except (NotFound, Forbidden):
            return []
        return [msgspec.json.decode(raw, type=kind) for raw in msgspec.json.decode(body, type=_List).items]


def _disk(volume: _DataVolume) -> Disk:
    head = volume.metadata
    return Disk(
        namespace=head.namespace, name=head.name, labels=head.labels, annotations=head.annotations,
        ready=volume.populated, deleting=head.deletion_timestamp is not None,
        size=_image_size(volume.spec),
        checksum=volume.checksum, words=progress.words(volume),
    )  # fmt: skip


def _source(source: _DataSource) -> DataSource:
    ready = any(one.type == "Ready" and one.status == "True" for one in source.status.conditions)
    return DataSource(namespace=source.metadata.namespace, name=source.metadata.name, ready=ready)


def _image_size(spec: _Spec) -> int:
    """0 for a claim that is written out (``pvc``) and has a file system: it is larger than what it may hold."""
    asked = spec.storage or spec.pvc or _Storage()
    if isinstance(asked, _Claim) and asked.volume_mode != VolumeMode.BLOCK:
        return 0
    return _bytes(asked.resources.requests.get("storage", 0))


def _bytes(amount: str | int | float) -> int:
    try:
        return Quantity.parse(amount).ceil()
    except InvalidQuantity:
        return 0
