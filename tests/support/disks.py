"""Claims of the bridge's class in a namespace of a test's own: their disks, their bytes, and what is left of them."""

import asyncio
import contextlib
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kubelet_bridge.devcluster import storageclasses
from kubelet_bridge.errors import NotFound
from kubelet_bridge.kube.client import PatchType
from kubelet_bridge.model.resources import (
    DATAVOLUMES,
    EVENTS,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    STORAGECLASSES,
)
from kubelet_bridge.model.storagenames import ANNOTATION_SOURCE, LABEL_PVC_UID, PROVISIONER
from kubelet_bridge.store.opening import FILE_NAME
from tests.support.bridge import Bridge, Json, World, decoded, eventually

MIB = 1 << 20
_PATTERN = 3 * MIB


class Disks:
    """Disks of one namespace. Their classes are bound at once, so that no Pod is needed, and by this bridge only."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.client = world.client
        self._classes: list[str] = []
        self.volumes_made: set[str] = set()

    async def storage_class(
        self, name: str = "disk", *, backing: str = storageclasses.REPLICATED, mode: str = "", **fields: Any
    ) -> str:
        """Make a class whose name no other test has, and return that; ``mode`` is of the real claims."""
        full = f"{name}-{self.world.namespace}"
        unknown = backing not in storageclasses.CLASSES  # CDI's StorageProfile has nothing of it
        shape = {"accessMode": "ReadWriteOnce", "volumeMode": mode or "Block"} if mode or unknown else {}
        parameters = {"node": self.world.bridge.node, "backingClass": backing, **shape}
        await self.client.create(STORAGECLASSES, None, {
            "apiVersion": STORAGECLASSES.api_version, "kind": STORAGECLASSES.kind, "metadata": {"name": full},
            "provisioner": PROVISIONER, "parameters": parameters, "allowVolumeExpansion": True,
            "volumeBindingMode": "Immediate", "reclaimPolicy": "Delete", **fields,
        })  # fmt: skip
        self._classes.append(full)
        return full

    async def real_class(self, name: str) -> str:
        """Make a class of the dev hosts' storage, bound at once."""
        await self.client.create(STORAGECLASSES, None, {
            "apiVersion": STORAGECLASSES.api_version, "kind": STORAGECLASSES.kind, "metadata": {"name": name},
            "provisioner": storageclasses.DRIVER, "volumeBindingMode": "Immediate", "allowVolumeExpansion": True,
        })  # fmt: skip
        self._classes.append(name)
        return name

    async def forget_classes(self) -> None:
        for name in self._classes:
            with contextlib.suppress(NotFound):
                await self.client.delete(STORAGECLASSES, None, name)

    async def claim(
        self, name: str, of: str, *, source: str = "", annotations: dict[str, str] | None = None, size: str = "16Mi",
        **spec: Any,
    ) -> Json:  # fmt: skip
        notes = {**({ANNOTATION_SOURCE: source} if source else {}), **(annotations or {})}
        return await self.world.create(PERSISTENTVOLUMECLAIMS, {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "annotations": notes},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, "storageClassName": of,
                **spec,
            },
        })  # fmt: skip

    async def bound(self, *names: str, seconds: float = 60.0) -> None:
        async def check() -> bool:
            found = {one["metadata"]["name"]: one for one in await self.world.find(PERSISTENTVOLUMECLAIMS)}
            return all(found.get(name, {}).get("status", {}).get("phase") == "Bound" for name in names)

        await eventually(check, lambda: f"Bound: {names}; {self.world.bridge.tail()}", seconds=seconds)

    async def filled(self, *names: str, seconds: float = 90.0) -> None:
        """Until CDI says that the disks of these claims hold what they begin with."""

        found: dict[str, Any] = {}

        async def check() -> bool:
            found.update({self.claim_of(one): one.get("status", {}) for one in await self.datavolumes()})
            return all(found.get(name, {}).get("phase") == "Succeeded" for name in names)

        await eventually(check, lambda: f"filled: {names}; {found}; {self.world.bridge.tail()}", seconds=seconds)

    async def datavolumes(self) -> list[Json]:
        return await self.world.find(DATAVOLUMES)

    @staticmethod
    def claim_of(datavolume: Json) -> str:
        name: str = datavolume["metadata"]["annotations"]["kubelet-bridge.io/pvc-name"]
        return name

    async def datavolume(self, claim: str) -> Json:
        (found,) = [one for one in await self.datavolumes() if self.claim_of(one) == claim]
        return found

    async def volumes(self) -> list[Json]:
        """Our PersistentVolumes for disks of this namespace, and the real ones behind: they outlive it."""
        found = []
        for one in decoded(await self.client.list(PERSISTENTVOLUMES))["items"]:
            of = (one["spec"].get("claimRef") or {}).get("namespace")
            handle = one["spec"].get("csi", {}).get("volumeHandle", "")
            if of == self.world.namespace or handle.startswith(f"{self.world.namespace}/"):
                found.append(one)
        return found

    async def ours(self) -> list[Json]:
        """Those of ``volumes`` that stand for a disk."""
        return [one for one in await self.volumes() if LABEL_PVC_UID in one["metadata"].get("labels", {})]

    async def one_each(self, *names: str) -> None:
        """The invariant: for each of these claims one DataVolume and one PersistentVolume, and no other ones."""
        claims = {
            one["metadata"]["name"]: one["metadata"]["uid"] for one in await self.world.find(PERSISTENTVOLUMECLAIMS)
        }
        wanted = sorted(claims[name] for name in names)
        for kind, found in (("DataVolumes", await self.datavolumes()), ("PersistentVolumes", await self.ours())):
            assert sorted(one["metadata"]["labels"][LABEL_PVC_UID] for one in found) == wanted, f"{kind} of {names}"

    async def uids(self) -> dict[str, tuple[str, str]]:
        """Of the DataVolume of each claim, and of the real claim behind it."""
        behind = {
            one["metadata"]["name"]: one["metadata"]["uid"] for one in await self.world.find(PERSISTENTVOLUMECLAIMS)
        }
        found = {self.claim_of(one): one["metadata"] for one in await self.datavolumes()}
        return {claim: (head["uid"], behind[head["name"]]) for claim, head in found.items() if head["name"] in behind}

    async def grow(self, name: str, size: str) -> None:
        wanted = {"spec": {"resources": {"requests": {"storage": size}}}}
        await self.client.patch(PERSISTENTVOLUMECLAIMS, self.world.namespace, name, wanted, kind=PatchType.MERGE)

    async def grown(self, name: str, size: str) -> None:
        async def check() -> bool:
            found = await self.world.get(PERSISTENTVOLUMECLAIMS, name)
            return found is not None and found["status"]["capacity"]["storage"] == size

        await eventually(check, lambda: f"{name} of {size}; {self.world.bridge.tail()}")

    async def file(self, claim: str) -> Path:
        """The file whose bytes the disk of ``claim`` has."""
        behind = (await self.datavolume(claim))["metadata"]["name"]
        return await self.file_behind(behind)

    async def file_behind(self, real_claim: str) -> Path:
        found = await self.world.get(PERSISTENTVOLUMECLAIMS, real_claim)
        assert found is not None
        volume = decoded(await self.client.get(PERSISTENTVOLUMES, None, found["spec"]["volumeName"]))
        directory: Path = self.world.bridge.cluster.layout.volumes / volume["spec"]["csi"]["volumeHandle"]
        return directory / ("block" if volume["spec"]["volumeMode"] == "Block" else "disk.img")

    async def write(self, *claims: str) -> dict[str, str]:
        """Write noise over the disks, as a guest would, and return a digest of each."""
        for claim in claims:
            await asyncio.to_thread(_scribble, await self.file(claim))
        return {claim: await self.digest(claim) for claim in claims}

    async def digest(self, claim: str) -> str:
        return await asyncio.to_thread(digest, await self.file(claim))

    async def told(self, claim: str) -> list[Json]:
        """Events on the claim."""
        events = await self.world.find(EVENTS)
        return [one for one in events if one["involvedObject"].get("name") == claim]

    async def says(self, claim: str, reason: str, *words: str, seconds: float = 60.0) -> None:
        """Until an event on the claim has this reason and every one of ``words``."""
        seen: list[Any] = []

        async def check() -> bool:
            seen[:] = [(one["reason"], one["message"]) for one in await self.told(claim)]
            return any(one == reason and all(word in said for word in words) for one, said in seen)

        what = f"event {reason} {words} on {claim}"
        await eventually(check, lambda: f"{what}; events {seen}; {self.world.bridge.tail()}", seconds=seconds)

    async def delete(self, *names: str) -> None:
        for name in names:
            await self.client.delete(PERSISTENTVOLUMECLAIMS, self.world.namespace, name)

    async def nothing_left(self, *, seconds: float = 90.0) -> None:
        """No claim, DataVolume, PersistentVolume or row, and no file of one."""
        seen: list[Any] = []

        async def check() -> bool:
            objects = [
                *await self.datavolumes(),
                *await self.world.find(PERSISTENTVOLUMECLAIMS),
                *await self.volumes(),
            ]
            seen[:] = [one["metadata"]["name"] for one in objects]
            seen.extend(await asyncio.to_thread(rows, self.world.bridge.state_dir))
            return not seen

        await eventually(check, lambda: f"nothing left; {seen}; {self.world.bridge.tail()}", seconds=seconds)


def rows(state_dir: Path) -> list[str]:
    """The claims that have a live row."""
    path = state_dir / FILE_NAME
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT namespace || '/' || name FROM volumes WHERE destroyed_at IS NULL")
        return [name for (name,) in found]


def forget_database(bridge: Bridge) -> None:
    """Delete the files of a bridge's store."""
    for file in bridge.state_dir.glob(f"{FILE_NAME}*"):
        file.unlink()


def _scribble(file: Path) -> None:
    """At the beginning and towards the end; the size stays."""
    with file.open("r+b") as disk:
        for offset in (0, file.stat().st_size - _PATTERN):
            disk.seek(offset)
            disk.write(os.urandom(_PATTERN))
        os.fsync(disk.fileno())


def digest(file: Path, length: int = 16 * MIB) -> str:
    """Of the first ``length`` bytes: a disk that has grown has more behind them."""
    with file.open("rb") as disk:
        return hashlib.sha256(disk.read(length)).hexdigest()


@pytest.fixture
async def disks(world: World) -> AsyncIterator[Disks]:
    one = Disks(world)
    try:
        yield one
    finally:
        await one.forget_classes()
