"""Disks that come and go by annotation: whatever dies when, a VM ends with those that are listed, each of them once.

And with those that somebody else has plugged in: none of them is ever taken for ours.
"""

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubelet_bridge.errors import BridgeError
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.translate.annotations import HOTPLUG
from kubelet_bridge.translate.hotplug import TAG
from tests.properties.simulation import Cluster, Crash, Crasher, process
from tests.support.pods import bound_claim

ROUNDS = 40
KEY = PodKey("n", "web", "u1")
CLAIMS = ("a", "b", "c")
THEIRS = "theirs"
LISTS = ("", "a", "a, b", "b", "b:virtio", "a:readonly, b, c", f"c, {THEIRS}", "absent, a")
Act = Callable[[Cluster], None]


def list_disks(text: str) -> Act:
    def act(cluster: Cluster) -> None:
        cluster.pods["web"]["metadata"]["annotations"] = {HOTPLUG: text}

    return act


def plug_theirs(cluster: Cluster) -> None:
    """As ``virtctl addvolume --persist`` does: a disk of the name that a list may ask for, too."""
    if vm := cluster.vms.get("web"):
        spec = vm["spec"]["template"]["spec"]
        if THEIRS not in [one["name"] for one in spec["volumes"]]:
            source = {"claimName": "elsewhere", "hotpluggable": True}
            spec["volumes"].append({"name": THEIRS, "persistentVolumeClaim": source})
            spec["domain"]["devices"]["disks"].append({"name": THEIRS, "disk": {"bus": "scsi"}})


def pull_ours(cluster: Cluster) -> None:
    """As ``virtctl removevolume --persist`` does, with a disk that may be ours."""
    if vm := cluster.vms.get("web"):
        spec = vm["spec"]["template"]["spec"]
        spec["volumes"] = [one for one in spec["volumes"] if one["name"] != "a"]
        spec["domain"]["devices"]["disks"] = [one for one in spec["domain"]["devices"]["disks"] if one["name"] != "a"]


def image(cluster: Cluster) -> None:
    pod = cluster.pods["web"]
    pod["spec"]["containers"][0]["image"] = "a.test/disk:2"
    pod["metadata"]["generation"] += 1


def delete_vm(cluster: Cluster) -> None:
    cluster.vms.get("web", {}).get("metadata", {}).update(deletionTimestamp=cluster.stamp())


ACTS: dict[str, Act] = {
    "plug theirs": plug_theirs,
    "pull ours": pull_ours,
    "image": image,
    "vm deleted": delete_vm,
    **{f"list {text!r}": list_disks(text) for text in LISTS},
}


async def _drive(acts: list[tuple[int, str]], crashes: list[tuple[int, bool]]) -> Cluster:
    cluster, rows = Cluster(), dict[str, Intent]()
    cluster.claims |= {name: bound_claim(name) for name in (*CLAIMS, THEIRS)}
    cluster.add_pod("web", "u1")
    todo = [Crasher(at, after=after) for at, after in crashes] + [Crasher()]
    loop = process(cluster, rows, todo.pop(0))
    for number in range(ROUNDS):
        for when, name in acts:
            if when == number:
                ACTS[name](cluster)
        try:
            await loop.sync(KEY)
        except BridgeError:
            pass
        except Crash:
            loop = process(cluster, rows, todo.pop(0))
        cluster.advance()
    return cluster


acts = st.lists(st.tuples(st.integers(0, 16), st.sampled_from(sorted(ACTS))), max_size=5)
crashes = st.lists(st.tuples(st.integers(1, 14), st.booleans()), max_size=3)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(acts, crashes)
async def test_what_is_listed_is_plugged_in_once(acts: list[tuple[int, str]], crashes: list[tuple[int, bool]]) -> None:
    cluster = await _drive(sorted(acts), crashes)
    spec = cluster.vms["web"]["spec"]["template"]["spec"]
    disks = spec["domain"]["devices"]["disks"]
    names = [one["name"] for one in disks]
    assert sorted(names) == sorted(one["name"] for one in spec["volumes"])
    assert len(names) == len({*names})

    listed = cluster.pods["web"]["metadata"].get("annotations", {}).get(HOTPLUG, "")
    asked = {one.strip().partition(":")[0] for one in listed.split(",") if one.strip()}
    ours = {one["name"]: one["disk"] for one in disks if one.get("tag") == TAG}
    foreign = THEIRS in names and THEIRS not in ours
    assert ours.keys() == asked - {"absent"} - ({THEIRS} if foreign else set())
    assert ours.get("b", {}).get("bus") in (None, "virtio" if "b:virtio" in listed else "scsi")
    assert bool(ours.get("a", {}).get("readonly")) == ("a:readonly" in listed)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(acts, crashes)
async def test_what_others_plug_in_stays(acts: list[tuple[int, str]], crashes: list[tuple[int, bool]]) -> None:
    """Also when the VM is written anew; unless all of it is deleted, or the name was ours first."""
    kept = [(when, name) for when, name in acts if name != "vm deleted" and not name.startswith("list 'c, ")]
    cluster = await _drive(sorted([*kept, (5, "plug theirs"), (6, "list 'a, b'"), (9, "image")]), crashes)
    volumes = cluster.vms["web"]["spec"]["template"]["spec"]["volumes"]
    assert THEIRS in [one["name"] for one in volumes]
    assert THEIRS not in cluster.unplugged


async def test_a_vm_with_its_disks_is_left_alone() -> None:
    cluster, rows, writes = Cluster(), dict[str, Intent](), Crasher()
    cluster.claims["a"] = bound_claim("a")
    cluster.add_pod("web", "u1")
    list_disks("a, absent")(cluster)
    loop = process(cluster, rows, Crasher())
    for _ in range(12):
        await loop.sync(KEY)
        cluster.advance()
    assert cluster.plugged == ["a"]
    await process(cluster, rows, writes).sync(KEY)
    assert writes.count == 0
