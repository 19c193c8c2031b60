"""The dev host's storage: which host does what for a claim, and the files of volumes."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.devcluster import storageclasses
from kubelet_bridge.devcluster.devhost.storage import decisions
from kubelet_bridge.devcluster.devhost.storage.claimed import ClaimedImages
from kubelet_bridge.devcluster.devhost.storage.objects import Claim, Metadata, OwnerReference, StorageClass, Volume
from kubelet_bridge.devcluster.devhost.storage.volumefiles import VolumeFiles
from kubelet_bridge.errors import NotFound, Terminal, Transient
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.resources import Resource

_OURS = {decisions.PROVISIONER: storageclasses.DRIVER}
_HOSTS = ("dev-host-0", "dev-host-1", "dev-host-2")


def _claim(annotations: dict[str, str] | None = None, size: str = "1Gi", **spec: Any) -> Claim:
    document = {
        "metadata": {"name": "data", "namespace": "shop", "uid": "u1", "annotations": annotations or _OURS},
        "spec": {"resources": {"requests": {"storage": size}}, "accessModes": ["ReadWriteOnce"], **spec},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
    }
    return msgspec.convert(document, Claim)


def _class(name: str) -> StorageClass:
    found = next(one for one in storageclasses.classes() if one["metadata"]["name"] == name)
    return msgspec.convert(found, StorageClass)


def _volume(claim: Claim, class_name: str, node: str, phase: str = "Bound", policy: str = "Delete") -> Volume:
    made = decisions.persistent_volume(claim, _class(class_name), node)
    made["spec"]["persistentVolumeReclaimPolicy"] = policy
    return msgspec.convert({**made, "status": {"phase": phase}}, Volume)


@given(st.sampled_from([None, *_HOSTS, "virtual-node"]))
def test_one_host_at_most_makes_a_volume(selected: str | None) -> None:
    claim = _claim({**_OURS, **({decisions.SELECTED_NODE: selected} if selected else {})})
    serving = [node for node in _HOSTS if decisions.shall_provision(claim, node)]
    assert serving == ([] if selected == "virtual-node" else [selected or "dev-host-0"])


@pytest.mark.parametrize(
    "claim",
    [
        _claim({decisions.PROVISIONER: "another.example"}),
        _claim(volumeName="pvc-other"),
        _claim(dataSourceRef={"apiGroup": "cdi.kubevirt.io", "kind": "VolumeImportSource", "name": "x"}),
        _claim(dataSource={"kind": "PersistentVolumeClaim", "name": "x"}),
    ],
    ids=["another's", "bound", "populated", "cloned"],
)
def test_claims_that_are_left_alone(claim: Claim) -> None:
    assert not any(decisions.shall_provision(claim, node) for node in _HOSTS)


def test_a_populators_claim_is_asked_for_by_the_one_that_it_fills() -> None:
    owner = OwnerReference("PersistentVolumeClaim", "data", "uid-1")
    prime = msgspec.structs.replace(_claim(), metadata=Metadata(name="prime-1", owner_references=[owner]))
    assert decisions.asked_for(prime) == "data"
    assert decisions.asked_for(_claim()) == _claim().metadata.name


def test_the_beta_annotation_counts_too() -> None:
    assert decisions.shall_provision(_claim({decisions.PROVISIONER_BETA: storageclasses.DRIVER}), "dev-host-0")


def test_local_storage_is_of_one_host_and_of_one_writer() -> None:
    local = _volume(_claim(), storageclasses.LOCAL, "dev-host-2", phase="Released")
    assert decisions.host_of(local) == "dev-host-2"
    assert [node for node in _HOSTS if decisions.shall_delete(local, node)] == ["dev-host-2"]
    with pytest.raises(Terminal, match="ReadWriteMany"):
        decisions.persistent_volume(_claim(accessModes=["ReadWriteMany"]), _class(storageclasses.LOCAL), "dev-host-0")


def test_a_volume_goes_only_when_it_was_released_to_go() -> None:
    claim, replicated = _claim(), storageclasses.REPLICATED
    gone = {
        (phase, policy): decisions.shall_delete(_volume(claim, replicated, "dev-host-0", phase, policy), "dev-host-0")
        for phase in ("Pending", "Available", "Bound", "Released", "Failed")
        for policy in ("Delete", "Retain")
    }
    assert [key for key, deleted in gone.items() if deleted] == [("Released", "Delete")]


def test_a_volume_grows_to_what_its_own_claim_asks_for() -> None:
    volume = _volume(_claim(), storageclasses.REPLICATED, "dev-host-0")
    assert decisions.wanted_size(_claim(size="2Gi"), volume, "dev-host-0") == "2Gi"
    assert decisions.wanted_size(_claim(size="2Gi"), volume, "dev-host-1") is None
    assert decisions.wanted_size(_claim(size="1Gi"), volume, "dev-host-0") is None
    assert decisions.wanted_size(_claim(size="512Mi"), volume, "dev-host-0") is None
    other = msgspec.structs.replace(_claim(size="2Gi"), metadata=msgspec.structs.replace(_claim().metadata, uid="u2"))
    assert decisions.wanted_size(other, volume, "dev-host-0") is None


@given(st.lists(st.integers(0, 1 << 20), min_size=1, max_size=5))
def test_a_block_volume_only_grows_and_keeps_what_it_holds(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        files = VolumeFiles(Path(directory))
        files.make("pvc-1", 4096, block=True)
        image = files.image("pvc-1", block=True)
        with image.open("r+b") as file:
            file.write(b"kept")
        for size in sizes:
            files.make("pvc-1", size, block=True)
        assert image.stat().st_size == max(4096, *sizes)
        assert image.read_bytes()[:5] == b"kept\0"


def test_a_filesystem_volume_holds_an_image(tmp_path: Path) -> None:
    files = VolumeFiles(tmp_path)
    files.make("pvc-1", 4096, block=False)
    assert files.image("pvc-1", block=False) == tmp_path / "pvc-1" / "disk.img"
    files.remove("pvc-1")
    files.remove("pvc-1")
    with pytest.raises(Terminal, match="not there"):
        files.image("pvc-1", block=False)


@pytest.mark.parametrize("name", ["", ".", "..", "../pki", "a/b", "/etc"])
def test_a_handle_does_not_lead_out_of_the_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / "volumes").mkdir()
    files = VolumeFiles(tmp_path / "volumes")
    with pytest.raises(Terminal, match="no name"):
        files.make(name, 1, block=True)
    with pytest.raises(Terminal, match="no name"):
        files.remove(name)


class _Cluster(Client):
    """An API server that has a few objects."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self._objects = {(one["kind"], one["metadata"]["name"]): one for one in objects}

    async def get(
        self, resource: Resource, namespace: str | None, name: str, **_options: Any
    ) -> bytes:  # fmt: skip
        if (found := self._objects.get((resource.kind, name))) is None:
            raise NotFound(404, "NotFound", f"{resource.kind} {namespace}/{name} not found")
        return msgspec.json.encode(found)


def _bound(name: str, **metadata: Any) -> dict[str, Any]:
    return {
        "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "shop", **metadata},
        "spec": {"volumeName": "pvc-u1"}, "status": {"phase": "Bound"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("metadata", "filled"),
    [
        ({}, "data"),
        ({"ownerReferences": [{"kind": "PersistentVolumeClaim", "name": "wanted"}]}, "wanted"),
        ({"ownerReferences": [{"kind": "DataVolume", "name": "data"}]}, "data"),
        ({"annotations": {"cdi.kubevirt.io/events.source": "shop/wanted",
                          "cdi.kubevirt.io/events.source.kind": "PersistentVolumeClaim"}}, "wanted"),
    ],
    ids=["its own", "an import's", "of a DataVolume", "a clone's"],
)  # fmt: skip
async def test_a_claim_leads_to_its_file(tmp_path: Path, metadata: dict[str, Any], filled: str) -> None:
    volume = decisions.persistent_volume(_claim(volumeMode="Block"), _class(storageclasses.REPLICATED), "dev-host-0")
    files = VolumeFiles(tmp_path)
    images = ClaimedImages(_Cluster(volume, _bound("data", **metadata)), files)
    with pytest.raises(Terminal, match="not there"):
        await images.find("shop", "data")
    await asyncio.to_thread(files.make, "pvc-u1", 1 << 30, block=True)
    found = await images.find("shop", "data")
    assert found is not None
    assert (found.path, found.block, found.capacity) == (tmp_path / "pvc-u1" / "block", True, 1 << 30)
    assert found.for_claim == filled


async def test_a_claim_that_is_not_bound_or_on_other_storage_has_no_file(tmp_path: Path) -> None:
    foreign = {
        "kind": "PersistentVolume",
        "metadata": {"name": "pvc-u1"},
        "spec": {"csi": {"driver": "another.example"}},
    }
    pending = _bound("later") | {"status": {"phase": "Pending"}}
    images = ClaimedImages(_Cluster(foreign, _bound("data"), pending), VolumeFiles(tmp_path))
    assert await images.find("shop", "data") is None
    with pytest.raises(Transient, match="not bound"):
        await images.find("shop", "later")
    with pytest.raises(NotFound):
        await images.find("shop", "missing")
