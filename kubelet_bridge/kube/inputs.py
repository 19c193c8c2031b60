"""Reads what a Pod's spec points at, by name, when a VM is made: no node should watch every Secret of a cluster."""

import asyncio
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from kubelet_bridge.errors import NotFound, Transient
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.core import ConfigMap, Pod, Secret, Service
from kubelet_bridge.model.resources import (
    CONFIGMAPS,
    DATAVOLUMES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    SECRETS,
    SERVICES,
    STORAGECLASSES,
    Resource,
)
from kubelet_bridge.model.snapshot import Inputs, PodClaim
from kubelet_bridge.model.storage import DataVolume, PersistentVolume, PersistentVolumeClaim, StorageClass
from kubelet_bridge.model.storagenames import PROVISIONER, datavolume_of
from kubelet_bridge.translate.environment import is_object_name, references
from kubelet_bridge.translate.hotplug import all_claims

SERVICES_FRESH = 5.0
"""Seconds for which a namespace's list of Services serves the next Pod too."""

Kind = TypeVar("Kind", ConfigMap, Secret, PersistentVolumeClaim, PersistentVolume, StorageClass, DataVolume)


class _ServiceList(msgspec.Struct):
    items: list[Service] = []


class _Services:
    """A namespace's Services as of one moment; whoever needs them while they are being asked for waits his turn."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.items: list[Service] = []
        self.read_at = -SERVICES_FRESH


class InputReader:
    """One per node; remembers Services for a moment, and never a Secret."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._services: dict[str, _Services] = {}

    async def read(self, pod: Pod) -> Inputs:
        """Everything ``pod`` points at; what is not there maps to None.

        Raises:
            ApiError: the API server could not be asked (an absence is concluded from a 404 only).
        """
        config_maps, secrets = references(pod)
        namespace = pod.metadata.namespace
        return Inputs(
            config_maps={name: await self._get(CONFIGMAPS, namespace, name, ConfigMap) for name in sorted(config_maps)},
            secrets={name: await self._get(SECRETS, namespace, name, Secret) for name in sorted(secrets)},
            services=await self._service_links(pod),
            claims={name: await self._claim(namespace, name) for name in sorted({*all_claims(pod)})},
        )

    async def volumes(self, namespace: str, claims: Iterable[str]) -> dict[str, PersistentVolume]:
        """See ``ClusterPort.volumes``."""
        found = {name: await self._volume(namespace, name) for name in claims}
        return {name: volume for name, volume in found.items() if volume is not None}

    async def _volume(self, namespace: str, claim: str) -> PersistentVolume | None:
        bound = await self._get(PERSISTENTVOLUMECLAIMS, namespace, claim, PersistentVolumeClaim)
        name = bound.spec.volume_name if bound is not None else ""
        return await self._get(PERSISTENTVOLUMES, None, name, PersistentVolume) if name else None

    async def _claim(self, namespace: str, name: str) -> PodClaim | None:
        """A claim of the Pod, with what stands behind it."""
        if not is_object_name(name):
            return None
        claim = await self._get(PERSISTENTVOLUMECLAIMS, namespace, name, PersistentVolumeClaim)
        if claim is None:
            return None
        if not claim.spec.volume_name:
            of = claim.spec.storage_class_name
            return PodClaim(
                claim, storage_class=await self._get(STORAGECLASSES, None, of, StorageClass) if of else None
            )
        volume = await self._get(PERSISTENTVOLUMES, None, claim.spec.volume_name, PersistentVolume)
        csi = volume.spec.csi if volume is not None else None
        if csi is None or csi.driver != PROVISIONER:
            return PodClaim(claim, volume)
        behind = datavolume_of(csi.volume_handle)
        datavolume = await self._get(DATAVOLUMES, namespace, behind, DataVolume)
        real = await self._get(PERSISTENTVOLUMECLAIMS, namespace, behind, PersistentVolumeClaim)
        return PodClaim(claim, volume, datavolume=datavolume, real=real)

    async def _get(self, resource: Resource, namespace: str | None, name: str, kind: type[Kind]) -> Kind | None:
        try:
            return msgspec.json.decode(await self._client.get(resource, namespace, name), type=kind)
        except NotFound as error:
            if error.reason != "NotFound":  # the server does not know the kind: that says nothing of the object
                raise Transient(f"the cluster has no {resource.plural}", reason="NoSuchKind") from error
            return None

    async def _service_links(self, pod: Pod) -> list[Service]:
        kubernetes = [one for one in await self._list("default") if one.metadata.name == "kubernetes"]
        if pod.spec.enable_service_links is False:
            return kubernetes
        own = await self._list(pod.metadata.namespace)
        return [*kubernetes, *(one for one in own if one not in kubernetes)]

    async def _list(self, namespace: str) -> list[Service]:
        clock = asyncio.get_running_loop().time
        services = self._services.setdefault(namespace, _Services())
        async with services.turn:
            if clock() - services.read_at >= SERVICES_FRESH:
                body = await self._client.list(SERVICES, namespace)
                services.items = msgspec.json.decode(body, type=_ServiceList).items
                services.read_at = clock()
                self._forget_stale(clock())
            return services.items

    def _forget_stale(self, now: float) -> None:
        stale = [name for name, one in self._services.items() if now - one.read_at > SERVICES_FRESH]
        for name in stale:
            if not self._services[name].turn.locked():
                del self._services[name]
