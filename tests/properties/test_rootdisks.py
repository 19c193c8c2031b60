"""Disks under crashes: die at any write, before or after it; an image is imported once, and a VM keeps its disk."""

from collections.abc import Iterable
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubelet_bridge.errors import AlreadyExists, BridgeError
from kubelet_bridge.model.goldenimage import Disk, Shelf
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.meta import LABEL_POD_UID
from kubelet_bridge.reconcile.statusmanager import StatusManager
from kubelet_bridge.reconcile.syncloop import SyncLoop
from kubelet_bridge.translate.config import ImageDisks
from tests.properties.simulation import CONFIG, Cluster, Crash, Crasher, Ports
from tests.support.catalogue import CATALOGUE

ROUNDS = 40
GOLDEN = "images"
NODE = msgspec.structs.replace(CONFIG, images=ImageDisks(catalogue=CATALOGUE, namespace=GOLDEN))
NAMES = ("web-0", "web-1")

Json = dict[str, Any]


class WithDisks(Cluster):
    """Fills DataVolumes in a round or two, and removes those whose Pod is gone. A VM boots from a full disk only."""

    def __init__(self) -> None:
        super().__init__()
        self.disks: dict[tuple[str, str], Disk] = {}
        self.age: dict[tuple[str, str], int] = {}
        self.disks_made: list[tuple[str, str]] = []

    def advance(self) -> bool:
        uids = {pod["metadata"]["uid"] for pod in self.pods.values()}
        for place, disk in list(self.disks.items()):
            if disk.labels.get(LABEL_POD_UID) not in (None, *uids):
                del self.disks[place]
                continue
            self.age[place] += 1
            self.disks[place] = msgspec.structs.replace(disk, ready=self.age[place] > 2, words="filling")
        return super().advance()

    def _advance_vm(self, name: str, vm: Json) -> None:
        root = vm["spec"]["template"]["spec"]["volumes"][0]["dataVolume"]["name"]
        if "deletionTimestamp" in vm["metadata"]:
            super()._advance_vm(name, vm)
            return
        assert ("n", root) in self.disks, "a VM was made before its disk"
        if self.disks["n", root].ready or name in self.vmis:
            super()._advance_vm(name, vm)


class DiskPorts(Ports):
    cluster: WithDisks

    async def get_disk(self, namespace: str, name: str) -> Disk | None:
        return self.cluster.disks.get((namespace, name))

    async def create_disk(self, namespace: str, manifest: Json) -> None:
        self.crasher.before()
        head = manifest["metadata"]
        place = (namespace, head["name"])
        if place in self.cluster.disks:
            raise AlreadyExists(409, "AlreadyExists", head["name"])
        source = manifest["spec"]["source"].get("pvc")
        assert source is None or self.cluster.disks[source["namespace"], source["name"]].ready, "cloned while it fills"
        self.cluster.disks[place] = Disk(
            namespace=namespace, name=head["name"], labels=head["labels"], annotations=head.get("annotations", {}),
            size=4 * 2**30,
        )  # fmt: skip
        self.cluster.age[place] = 0
        self.cluster.disks_made.append(place)
        self.crasher.done()

    async def shelf(self, namespaces: Iterable[str]) -> Shelf:
        return Shelf()


def start(cluster: WithDisks, rows: dict[str, Intent], crasher: Crasher) -> SyncLoop:
    ports = DiskPorts(cluster, rows, crasher)
    return SyncLoop(ports, ports, ports, StatusManager(ports, ports, host_ip="192.0.2.1"), NODE, clock=cluster.clock)


def act(cluster: WithDisks, name: str, what: str) -> None:
    pod = cluster.pods.get(name)
    match what:
        case "image" if pod is not None:
            pod["spec"]["containers"][0]["image"] = "debian-13"
            pod["metadata"]["generation"] += 1
        case "spelling" if pod is not None:
            pod["spec"]["containers"][0]["image"] = "Debian_12"
            pod["metadata"]["generation"] += 1
        case "delete" if pod is not None:
            cluster.delete_pod(name, 1)
        case "vm deleted" if name in cluster.vms:
            cluster.vms[name]["metadata"]["deletionTimestamp"] = cluster.stamp()


async def drive(acts: list[tuple[int, str, str]], crashes: list[tuple[int, bool]]) -> WithDisks:
    """Two Pods of one image; acts happen in their round; the process dies at each of the given writes."""
    cluster, rows = WithDisks(), dict[str, Intent]()
    keys = [cluster.add_pod(name, f"uid-{name}", containers=[{"name": "c", "image": "debian-12"}]) for name in NAMES]
    todo = [Crasher(at, after=after) for at, after in crashes] + [Crasher()]
    loop = start(cluster, rows, todo.pop(0))
    for number in range(ROUNDS):
        for when, name, what in acts:
            if when == number:
                act(cluster, name, what)
        for key in keys:
            try:
                await loop.sync(key)
            except BridgeError:
                continue
            except Crash:
                loop = start(cluster, rows, todo.pop(0))
        cluster.advance()
    return cluster


def _machines(cluster: WithDisks) -> Json:
    return {
        "pods": {name: pod["status"].get("phase") for name, pod in cluster.pods.items()},
        "roots": {name: vm["spec"]["template"]["spec"]["volumes"][0] for name, vm in cluster.vms.items()},
    }


ACTS = st.lists(
    st.tuples(
        st.integers(0, 14), st.sampled_from(NAMES), st.sampled_from(["image", "spelling", "delete", "vm deleted"])
    ),
    max_size=3,
)
CRASHES = st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=3)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(ACTS, CRASHES)
async def test_crashes_make_no_second_disk_and_lose_none(
    acts: list[tuple[int, str, str]], crashes: list[tuple[int, bool]]
) -> None:
    crashed, quiet = await drive(acts, crashes), await drive(acts, [])
    assert len(crashed.disks_made) == len({*crashed.disks_made})
    assert _machines(crashed) == _machines(quiet)
    if not any(what == "image" for _, _, what in acts):  # else a crash decides whether the first image was begun
        assert {*crashed.disks} == {*quiet.disks}


async def test_one_image_is_imported_once_for_two_pods() -> None:
    cluster = await drive([], [])
    assert sorted(namespace for namespace, _ in cluster.disks_made) == [GOLDEN, "n", "n"]
    assert cluster.made == list(NAMES)


async def test_a_vm_that_is_lost_finds_its_disk_again() -> None:
    cluster = await drive([(10, "web-0", "vm deleted")], [])
    assert cluster.made.count("web-0") == 2
    assert [name for _, name in cluster.disks_made if name.startswith("web-0-")] == [root_of(cluster, "web-0")]


async def test_another_image_is_another_disk_and_the_first_stays() -> None:
    cluster = await drive([(10, "web-0", "image"), (20, "web-1", "spelling")], [])
    roots = [name for namespace, name in cluster.disks if namespace == "n"]
    assert sorted(name.rpartition("-root-")[0] for name in roots) == ["web-0", "web-0", "web-1"]
    assert root_of(cluster, "web-0") == roots[-1]
    assert cluster.made == list(NAMES)


def root_of(cluster: WithDisks, vm: str) -> str:
    name: str = cluster.vms[vm]["spec"]["template"]["spec"]["volumes"][0]["dataVolume"]["name"]
    return name
