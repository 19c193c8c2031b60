"""Pods whose containers an agent runs: crash at any write, whatever happens in the guest, and reach the same end."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubelet_bridge.errors import BridgeError
from kubelet_bridge.model.intent import Hosting, Intent
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.translate.config import BridgeConfig, GuestAccess
from tests.properties.agents import Agents
from tests.properties.simulation import Cluster, Crash, Crasher, process

CONFIG = BridgeConfig(
    node_name="vnode",
    guest=GuestAccess(
        address="192.0.2.1:1", files_url="https://192.0.2.1:2", ca="CA", key=b"key", agent_version="1",
        agent_digest="ab" * 32,
    ),
    runtime_image="a.test/runtime:1",
)  # fmt: skip
ROUNDS = 30
KEY = PodKey("n", "web", "u1")
Statuses = dict[str, Any]


def _vm_dies(cluster: Cluster, _: Agents) -> None:
    """Its launcher is killed: KubeVirt begins another boot."""
    cluster.vmis.pop("web", None)
    cluster.launchers.pop("web", None)


ACTS: dict[str, Callable[[Cluster, Agents], None]] = {
    "delete": lambda cluster, _: cluster.delete_pod("web") if "web" in cluster.pods else None,
    "force": lambda cluster, _: cluster.pods.pop("web", None) and None,
    "exit 0": lambda _, agents: agents.exit("u1", 0),
    "exit 3": lambda _, agents: agents.exit("u1", 3),
    "vm dies": _vm_dies,
}


class Run:
    """One run of the corridor, and every status that was written on the way."""

    def __init__(self, policy: str) -> None:
        self.cluster, self.rows = Cluster(), dict[str, Intent]()
        self.agents = Agents(self.cluster, self.rows)
        self.seen: list[Statuses] = []
        containers = [{"name": name, "image": f"{name}:1"} for name in ("web", "log")]
        self.cluster.add_pod("web", "u1", restartPolicy=policy, containers=containers)

    async def drive(self, acts: list[tuple[int, str]], crashes: list[tuple[int, bool]]) -> None:
        todo = [Crasher(at, after=after) for at, after in crashes] + [Crasher()]
        loop = self._start(todo.pop(0))
        for number in range(ROUNDS):
            for when, name in acts:
                if when == number:
                    ACTS[name](self.cluster, self.agents)
            try:
                await loop.sync(KEY)
            except BridgeError:
                pass
            except Crash:
                loop = self._start(todo.pop(0))
            if pod := self.cluster.pods.get("web"):
                self.seen.append(pod["status"])
            self.cluster.advance()
            self.agents.advance()

    def _start(self, crasher: Crasher) -> Any:
        self.agents.crasher = crasher
        return process(self.cluster, self.rows, crasher, config=CONFIG, guests=self.agents)

    def outcome(self) -> dict[str, Any]:
        pods = {
            name: (pod["status"].get("phase"), [_gist(one) for one in pod["status"].get("containerStatuses", [])])
            for name, pod in self.cluster.pods.items()
        }
        rows = {uid: (row.status, row.outcome, row.hosting) for uid, row in self.rows.items()}
        return {"pods": pods, "vms": sorted(self.cluster.vms), "rows": rows, "guests": sorted(self.agents.guests)}


def _gist(status: Statuses) -> tuple[Any, ...]:
    ended = status["state"].get("terminated", {})
    return status["name"], status["ready"], sorted(status["state"]), ended.get("exitCode")


policies = st.sampled_from(["Always", "OnFailure", "Never"])
acts = st.lists(st.tuples(st.integers(4, 14), st.sampled_from(sorted(ACTS))), max_size=3)
crashes = st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=3)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(policies, acts, crashes)
async def test_any_crash_leads_to_a_lawful_end(
    policy: str, acts: list[tuple[int, str]], crashes: list[tuple[int, bool]]
) -> None:
    run = Run(policy)
    await run.drive(acts, crashes)
    assert set(run.agents.guests) <= {pod["metadata"]["uid"] for pod in run.cluster.pods.values()}
    assert set(run.rows) == {pod["metadata"]["uid"] for pod in run.cluster.pods.values()}
    _lawful(run.seen, policy)


def _lawful(seen: list[Statuses], policy: str) -> None:
    counts: dict[str, int] = {}
    over = ""
    for status in seen:
        assert over in ("", status.get("phase")), "a final phase was left"
        over = status["phase"] if status.get("phase") in ("Succeeded", "Failed") else over
        for one in status.get("containerStatuses", []):
            assert one["restartCount"] >= counts.get(one["name"], 0), "a restart was taken back"
            counts[one["name"]] = one["restartCount"]
            assert one["state"], "a container is in no state"
    if policy == "Always" and not over:
        return
    ended: set[str] = set()
    for status in seen:
        now = {
            one["name"] for one in status.get("containerStatuses", [])
            if one["state"].get("terminated", {}).get("exitCode") == (0 if policy == "OnFailure" else None)
        }  # fmt: skip
        if policy == "OnFailure":
            assert ended <= now, "a container that had succeeded was taken for another"
            ended |= now


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(policies, crashes)
async def test_a_crash_changes_nothing_of_a_quiet_life(policy: str, crashes: list[tuple[int, bool]]) -> None:
    undisturbed, disturbed = Run(policy), Run(policy)
    await undisturbed.drive([], [])
    await disturbed.drive([], crashes)
    assert disturbed.outcome() == undisturbed.outcome()
    assert undisturbed.rows["u1"].hosting is Hosting.OCI


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(policies, st.sampled_from(["exit 0", "exit 3", "delete", "force"]), crashes)
async def test_one_thing_that_happens_has_one_end(policy: str, act: str, crashes: list[tuple[int, bool]]) -> None:
    """It happens when the disturbed run, too, has settled: what happens earlier may find another moment."""
    undisturbed, disturbed = Run(policy), Run(policy)
    await undisturbed.drive([(14, act)], [])
    await disturbed.drive([(14, act)], crashes)
    assert disturbed.outcome() == undisturbed.outcome()


async def test_a_job_has_the_exit_code_of_its_container() -> None:
    run = Run("Never")
    await run.drive([(8, "exit 3")], [])
    status = run.cluster.pods["web"]["status"]
    assert status["phase"] == "Failed"
    assert {one["state"]["terminated"]["exitCode"] for one in status["containerStatuses"]} == {3}
    assert run.cluster.vms == {}, "the machine is not removed when its Pod is over"


async def test_a_new_boot_counts_as_a_restart_of_each_container() -> None:
    run = Run("Always")
    await run.drive([(8, "vm dies"), (16, "vm dies")], [])
    statuses = run.cluster.pods["web"]["status"]["containerStatuses"]
    assert [one["restartCount"] for one in statuses] == [2, 2]
    assert {one["lastState"]["terminated"]["exitCode"] for one in statuses} == {137}
    assert all(one["ready"] for one in statuses)


async def test_a_deleted_pods_containers_are_stopped_before_its_machine() -> None:
    run = Run("Always")
    await run.drive([(8, "delete")], [])
    assert run.cluster.pods == {}
    assert run.agents.shut == ["u1"]
    assert run.agents.guests == {}
