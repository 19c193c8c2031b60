"""Pods with a VM for each container: crash at any write, whatever the guests do, and reach the same end."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubelet_bridge.errors import BridgeError
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.kubevirt import VirtualMachine
from kubelet_bridge.model.meta import LABEL_CONTAINER, LABEL_POD_UID, PodKey, machine_uid
from kubelet_bridge.store.rebuild import rebuild
from tests.properties.simulation import Cluster, Crash, Crasher, Json, _as, process

ROUNDS = 44

KEY = PodKey("n", "web", "u1")
INIT = ("first", "side", "second")
MAIN = ("web", "log")
ENDS = {"first": "Succeeded", "second": "Succeeded"}


class Site(Cluster):
    """Guests end by themselves: those in ``ends`` as soon as they run."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = dict(ENDS)

    def vmi_of(self, container: str) -> Json | None:
        return next((one for one in self.vmis.values() if container_of(one) == container), None)

    def end(self, container: str, phase: str) -> None:
        vmi = self.vmi_of(container)
        if vmi is not None and vmi["status"]["phase"] == "Running" and "deletionTimestamp" not in vmi["metadata"]:
            vmi["status"]["phase"] = phase
            at = {"phase": phase, "phaseTransitionTimestamp": self.stamp()}
            vmi["status"]["phaseTransitionTimestamps"].append(at)

    def advance(self) -> bool:
        self.clock.tick()
        for name, vm in list(self.vms.items()):
            self._advance_vm(name, vm)
        for container, phase in self.ends.items():
            self.end(container, phase)
        return True

    def _advance_vm(self, name: str, vm: Json) -> None:
        vmi = self.vmis.get(name)
        deleting = "deletionTimestamp" in vm["metadata"]
        if deleting or vm.get("off"):
            return super()._advance_vm(name, vm) if deleting else None
        if vmi is None or vmi["status"]["phase"] not in ("Succeeded", "Failed"):
            return super()._advance_vm(name, vm)
        self.launchers.pop(name, None)
        strategy = vm["spec"]["runStrategy"]
        if strategy == "Once":
            vm["status"] = {"printableStatus": "Stopped", "created": True}
        elif strategy == "RerunOnFailure" and vmi["status"]["phase"] == "Succeeded":
            self.vmis.pop(name)
            vm |= {"off": True, "status": {"printableStatus": "Stopped", "runStrategy": strategy}}
        else:
            self.vmis.pop(name)
        return None


def container_of(one: Json) -> str:
    found: str = one["metadata"]["labels"][LABEL_CONTAINER]
    return found


def ends(*containers: str, phase: str) -> Callable[[Site], None]:
    def act(site: Site) -> None:
        for container in containers:
            site.end(container, phase)

    return act


ACTS: dict[str, Callable[[Site], None]] = {
    "delete": lambda site: site.delete_pod("web") if "web" in site.pods else None,
    "force": lambda site: site.pods.pop("web", None) and None,
    "web ends": ends("web", phase="Succeeded"),
    "web fails": ends("web", phase="Failed"),
    "all end": ends("web", "log", phase="Succeeded"),
    "side fails": ends("side", phase="Failed"),
    "vm deleted": lambda site: [
        vm["metadata"].update(deletionTimestamp=site.stamp()) for vm in site.vms.values() if container_of(vm) == "web"
    ] and None,
}  # fmt: skip


class Run:
    """One run of the corridor, and what was true in each of its rounds."""

    def __init__(self, policy: str = "Always") -> None:
        self.site, self.rows = Site(), dict[str, Intent]()
        self.seen: list[Json] = []
        self.site.add_pod(
            "web", "u1", restartPolicy=policy,
            initContainers=[
                {"name": name, "image": "a.test/disk:1", **({"restartPolicy": "Always"} if name == "side" else {})}
                for name in INIT
            ],
            containers=[{"name": name, "image": "a.test/disk:1"} for name in MAIN],
        )  # fmt: skip
        self.site.pods["web"]["metadata"]["annotations"] = {"kubelet-bridge.io/containers": "vm-per-container"}

    async def drive(
        self, acts: list[tuple[int, str]], crashes: list[tuple[int, bool]], *, rounds: int = ROUNDS, lose: int = -1
    ) -> None:
        """``lose``: in this round the database is lost, and made again from the cluster."""
        todo = [Crasher(at, after=after) for at, after in crashes] + [Crasher()]
        loop = process(self.site, self.rows, todo.pop(0))
        for number in range(rounds):
            for when, name in acts:
                if when == number:
                    ACTS[name](self.site)
            if number == lose:
                self._lose()
                loop = process(self.site, self.rows, Crasher())
            try:
                await loop.sync(KEY)
            except BridgeError:
                pass
            except Crash:
                loop = process(self.site, self.rows, todo.pop(0))
            self._check()
            self.site.advance()

    def _lose(self) -> None:
        vms = [_as(vm, VirtualMachine) for vm in self.site.vms.values()]
        pods = [_as(pod, Pod) for pod in self.site.pods.values()]
        ids = iter(range(100))
        found = {one.uid: one for one in rebuild(vms, pods, new_id=lambda: f"dpl_{next(ids)}")}
        self.rows.clear()
        self.rows |= found

    def _check(self) -> None:
        there = [container_of(vm) for vm in self.site.vms.values()]
        assert len(there) == len(set(there)), "two VMs for one container"
        assert {vm["metadata"]["labels"][LABEL_POD_UID] for vm in self.site.vms.values()} <= {"u1"}
        uids = {machine_uid("u1", container) for container in there}
        assert uids <= set(self.rows), "a VM that no row knows"
        assert not self.rows or "u1" in self.rows or "web" not in self.site.pods, "machines without their Pod"
        if pod := self.site.pods.get("web"):
            self.seen.append(pod["status"])

    def outcome(self) -> dict[str, Any]:
        pod = self.site.pods.get("web")
        return {
            "pod": _gist(pod["status"]) if pod else None,
            "vms": sorted(map(container_of, self.site.vms.values())),
            "rows": {uid: (row.status, row.outcome, row.container) for uid, row in self.rows.items()},
        }


def _gist(status: Json) -> dict[str, Any]:
    groups = (status.get("initContainerStatuses", []), status.get("containerStatuses", []))
    states = {
        one["name"]: (one["ready"], sorted(one["state"]), one["state"].get("terminated", {}).get("exitCode"))
        for group in groups
        for one in group
    }
    conditions = {one["type"]: one["status"] for one in status.get("conditions", [])}
    return {"phase": status.get("phase"), "states": states, "conditions": conditions, "ip": bool(status.get("podIP"))}


policies = st.sampled_from(["Always", "OnFailure", "Never"])
acts = st.lists(st.tuples(st.integers(0, 30), st.sampled_from(sorted(ACTS))), max_size=3)
crashes = st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=3)
relaxed = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


async def test_init_containers_run_in_order_and_their_vms_go() -> None:
    run = Run()
    await run.drive([], [])
    made = [name.removeprefix("web-").rsplit("-", 1)[0] for name in run.site.made]
    assert made == ["first", "side", "second", "web", "log"]
    end = run.outcome()
    assert end["vms"] == ["log", "side", "web"]
    assert end["pod"]["phase"] == "Running"
    assert end["pod"]["ip"]
    assert {end["pod"]["conditions"][one] for one in ("Ready", "Initialized", "ContainersReady")} == {"True"}
    assert end["pod"]["states"] == {
        "first": (True, ["terminated"], 0), "second": (True, ["terminated"], 0), "side": (True, ["running"], None),
        "web": (True, ["running"], None), "log": (True, ["running"], None),
    }  # fmt: skip
    assert set(run.rows) == {"u1", *(machine_uid("u1", one) for one in (*INIT, *MAIN))}


async def test_a_quiet_pod_is_left_alone() -> None:
    run = Run()
    await run.drive([], [])
    writes = Crasher()
    assert await process(run.site, run.rows, writes).sync(KEY) is None
    assert writes.count == 0


async def test_nothing_begins_after_an_init_container_that_failed_for_good() -> None:
    run = Run("Never")
    run.site.ends["first"] = "Failed"
    await run.drive([], [])
    assert run.outcome()["pod"]["phase"] == "Failed"
    assert run.outcome()["vms"] == []
    assert len(run.site.made) == 1
    assert run.outcome()["pod"]["states"]["web"] == (False, ["waiting"], None)


async def test_an_init_container_that_fails_is_tried_again() -> None:
    run = Run("Always")
    run.site.ends["first"] = "Failed"
    await run.drive([], [], rounds=24)
    assert {container_of(vm) for vm in run.site.vms.values()} == {"first"}
    assert run.site.pods["web"]["status"]["initContainerStatuses"][0]["restartCount"] > 1
    run.site.ends["first"] = "Succeeded"
    await run.drive([], [])
    assert run.outcome()["pod"]["phase"] == "Running"


async def test_a_job_is_over_when_its_main_containers_are_and_its_sidecar_goes() -> None:
    for policy in ("OnFailure", "Never"):
        run = Run(policy)
        await run.drive([(30, "web ends"), (34, "all end")], [])
        assert run.outcome()["pod"]["phase"] == "Succeeded"
        assert run.site.vmi_of("side") is None
        phases = [status.get("phase") for status in run.seen]
        assert phases.index("Succeeded") > 33, "it was over before all containers were"


async def test_a_deleted_pods_sidecar_outlives_its_main_containers() -> None:
    run = Run()
    await run.drive([], [])
    run.site.delete_pod("web")
    gone: list[set[str]] = []
    loop = process(run.site, run.rows, Crasher())
    while "web" in run.site.pods:
        await loop.sync(KEY)
        gone.append({*("side", *MAIN)} - {container_of(vm) for vm in run.site.vms.values()})
        asked = {container_of(vm) for vm in run.site.vms.values() if "deletionTimestamp" in vm["metadata"]}
        assert "side" not in asked or gone[-1] >= {*MAIN}
        run.site.advance()
    assert not run.rows
    assert not run.site.vms


@relaxed
@given(policies, acts, crashes)
async def test_any_crash_leads_to_a_lawful_end(
    policy: str, acts: list[tuple[int, str]], crashes: list[tuple[int, bool]]
) -> None:
    run = Run(policy)
    await run.drive(acts, crashes)
    pods = set(run.site.pods)
    assert bool(run.rows) == bool(pods)
    assert bool(run.site.vms) <= bool(pods)
    _lawful(run.seen)


@relaxed
@given(policies, crashes)
async def test_a_crash_changes_nothing_of_a_quiet_life(policy: str, crashes: list[tuple[int, bool]]) -> None:
    undisturbed, disturbed = Run(policy), Run(policy)
    await undisturbed.drive([], [])
    await disturbed.drive([], crashes)
    assert disturbed.outcome() == undisturbed.outcome()


@relaxed
@given(policies, st.sampled_from(sorted(ACTS)), crashes)
async def test_one_thing_that_happens_has_one_end(policy: str, act: str, crashes: list[tuple[int, bool]]) -> None:
    """It happens when the disturbed run, too, has settled."""
    undisturbed, disturbed = Run(policy), Run(policy)
    await undisturbed.drive([(40, act)], [], rounds=60)
    await disturbed.drive([(40, act)], crashes, rounds=60)
    assert disturbed.outcome() == undisturbed.outcome()


@relaxed
@given(policies, st.integers(1, 38), st.sampled_from(["", *sorted(ACTS)]))
async def test_a_lost_database_is_made_again(policy: str, lose: int, act: str) -> None:
    undisturbed, disturbed = Run(policy), Run(policy)
    then = [(40, act)] if act else []
    await undisturbed.drive(then, [], rounds=60)
    await disturbed.drive(then, [], rounds=60, lose=lose)
    assert disturbed.outcome() == undisturbed.outcome()
    assert len(disturbed.site.made) == len(undisturbed.site.made), "a VM was made again"


def _lawful(seen: list[Json]) -> None:
    over, counts, ended = "", dict[str, int](), set[str]()
    for status in seen:
        assert over in ("", status.get("phase")), "a final phase was left"
        over = status["phase"] if status.get("phase") in ("Succeeded", "Failed") else over
        for one in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
            assert one["restartCount"] >= counts.get(one["name"], 0), "a restart was taken back"
            counts[one["name"]] = one["restartCount"]
            assert one["state"], "a container is in no state"
        done = {
            one["name"] for one in status.get("initContainerStatuses", [])
            if one["name"] != "side" and one["state"].get("terminated", {}).get("exitCode") == 0
        }  # fmt: skip
        assert ended <= done or not status.get("initContainerStatuses"), (
            "an init container that had succeeded ran again"
        )
        ended |= done
