"""Crash safety as a property: die at any write, before or after it, start again, and reach the same end."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubelet_bridge.errors import BridgeError
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.meta import LABEL_POD_UID, PodKey
from tests.properties.simulation import Cluster, Crash, Crasher, process

ROUNDS = 40
KEY = PodKey("n", "web", "u1")
Act = Callable[[Cluster], None]


def successor(cluster: Cluster) -> None:
    """Force-deleted, and at once a Pod of the same name."""
    cluster.pods.pop("web", None)
    cluster.add_pod("web", "u2")


def image(cluster: Cluster) -> None:
    if pod := cluster.pods.get("web"):
        pod["spec"]["containers"][0]["image"] = "a.test/disk:2"
        pod["metadata"]["generation"] += 1


ACTS: dict[str, Act] = {
    "nothing": lambda _: None,
    "delete": lambda cluster: cluster.delete_pod("web") if "web" in cluster.pods else None,
    "delete now": lambda cluster: cluster.delete_pod("web", 1) if "web" in cluster.pods else None,
    "force": lambda cluster: cluster.pods.pop("web", None) and None,
    "successor": successor,
    "image": image,
    "vm deleted": lambda cluster: (
        cluster.vms.get("web", {}).get("metadata", {}).update(deletionTimestamp=cluster.stamp())
    ),
}


async def _drive(acts: list[tuple[int, str]], crashes: list[tuple[int, bool]]) -> tuple[Cluster, dict[str, Intent]]:
    """Run the corridor for some rounds; acts happen in their round, the process dies at each of the given writes."""
    cluster, rows = Cluster(), dict[str, Intent]()
    cluster.add_pod("web", "u1")
    todo = [Crasher(at, after=after) for at, after in crashes] + [Crasher()]
    loop = process(cluster, rows, todo.pop(0))
    for number in range(ROUNDS):
        for when, name in acts:
            if when == number:
                ACTS[name](cluster)
        keys = {KEY, PodKey("n", "web", "u2"), *(PodKey("n", i.name, i.uid) for i in rows.values())}
        for key in sorted(keys):
            try:
                await loop.sync(key)
            except BridgeError:
                continue
            except Crash:
                loop = process(cluster, rows, todo.pop(0))
        cluster.advance()
    return cluster, rows


def _outcome(cluster: Cluster, rows: dict[str, Intent]) -> dict[str, Any]:
    pods = {
        name: (
            pod["metadata"]["uid"],
            pod["status"].get("phase"),
            [c["ready"] for c in pod["status"]["containerStatuses"]],
        )
        for name, pod in cluster.pods.items()
    }
    vms = {vm["metadata"]["labels"][LABEL_POD_UID]: vm["spec"] for vm in cluster.vms.values()}
    return {
        "pods": pods,
        "vms": vms,
        "rows": {uid: (row.status, row.vm_name, row.outcome) for uid, row in rows.items()},
    }


acts = st.lists(st.tuples(st.integers(0, 12), st.sampled_from(sorted(ACTS))), max_size=3)
crashes = st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=3)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(acts, crashes)
async def test_any_crash_leads_to_the_same_end(acts: list[tuple[int, str]], crashes: list[tuple[int, bool]]) -> None:
    undisturbed, rows = await _drive(acts, [])
    disturbed, disturbed_rows = await _drive(acts, crashes)
    assert _outcome(disturbed, disturbed_rows) == _outcome(undisturbed, rows)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(acts, crashes)
async def test_no_vm_twice_and_none_without_a_pod(acts: list[tuple[int, str]], crashes: list[tuple[int, bool]]) -> None:
    cluster, rows = await _drive(acts, crashes)
    owners = [vm["metadata"]["labels"][LABEL_POD_UID] for vm in cluster.vms.values()]
    assert len(owners) == len(set(owners))
    assert set(owners) <= {pod["metadata"]["uid"] for pod in cluster.pods.values()}
    assert set(rows) == {pod["metadata"]["uid"] for pod in cluster.pods.values()}


async def test_a_quiet_pod_is_left_alone() -> None:
    cluster, rows = await _drive([], [])
    writes = Crasher()
    loop = process(cluster, rows, writes)
    assert await loop.sync(KEY) is None
    assert writes.count == 0
