"""Whatever KubeVirt shows, in whatever order: what a Pod's status may never do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.model.core import ContainerStatus, Pod, PodStatus
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.kubevirt import Launcher, PrintableStatus, VirtualMachine, VirtualMachineInstance, VmiPhase
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.translate import podevents, podstatus, statuspatch
from kubelet_bridge.translate.observe import observe
from tests.support import strategicmerge

KEY = PodKey("shop", "web-0", "pod-1")
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
TERMINAL = ("Succeeded", "Failed")
REASONS = ("", "Unschedulable", "ErrImagePull", "FailedCreate", "PausedByUser")


def conditions(*types: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    one = st.fixed_dictionaries(
        {
            "type": st.sampled_from(types),
            "status": st.sampled_from(["True", "False"]),
            "reason": st.sampled_from(REASONS),
            "message": st.sampled_from(["", "because"]),
        }
    )
    return st.lists(one, max_size=3, unique_by=lambda condition: str(condition["type"]))


times = st.integers(0, 100).map(lambda seconds: (START + timedelta(seconds=seconds)).isoformat())
vms = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries({"uid": st.just("vm-1")}, optional={"deletionTimestamp": times}),
        "spec": st.fixed_dictionaries({"runStrategy": st.sampled_from(["Always", "RerunOnFailure", "Once", "Halted"])}),
        "status": st.fixed_dictionaries(
            {"printableStatus": st.sampled_from(PrintableStatus).map(str), "created": st.booleans()},
            optional={
                "stateChangeRequests": st.just([{"action": "Start"}]),
                "startFailure": st.just({"consecutiveFailCount": 1}),
                "conditions": conditions("Failure", "Synchronized"),
            },
        ),
    }
)
vmis = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"uid": st.sampled_from(["boot-1", "boot-2", "boot-3"])}, optional={"deletionTimestamp": times}
        ),
        "status": st.fixed_dictionaries(
            {"phase": st.sampled_from(VmiPhase).map(str), "nodeName": st.sampled_from(["", "metal-1"])},
            optional={
                "phaseTransitionTimestamps": st.lists(
                    st.fixed_dictionaries(
                        {
                            "phase": st.sampled_from(["Running", "Succeeded", "Failed"]),
                            "phaseTransitionTimestamp": times,
                        }
                    ),
                    max_size=2,
                ),
                "conditions": conditions("Ready", "Paused", "PodScheduled", "Synchronized", "LiveMigratable"),
                "migrationState": st.fixed_dictionaries({"startTimestamp": times}, optional={"endTimestamp": times}),
            },
        ),
    }
)
codes = st.sampled_from([0, 1, 2, 137])
ends = st.fixed_dictionaries({"exitCode": codes, "reason": st.sampled_from(["", "OOMKilled"])})
launchers = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries({"uid": st.sampled_from(["launcher-1", "launcher-2"])}),
        "spec": st.fixed_dictionaries({"nodeName": st.sampled_from(["", "metal-1"])}),
        "status": st.sampled_from(
            [
                {},
                {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]},
                {"podIP": "10.0.0.2", "podIPs": [{"ip": "10.0.0.2"}, {"ip": "fd00::2"}]},
            ]
        ).flatmap(
            lambda status: st.fixed_dictionaries(
                {},
                optional={
                    "containerStatuses": ends.map(lambda end: [{"name": "compute", "state": {"terminated": end}}]),
                    "conditions": conditions("DisruptionTarget", "PodScheduled"),
                },
            ).map(lambda more: {**status, **more})
        ),
    }
)
steps = st.fixed_dictionaries(
    {
        "vm": st.none() | vms,
        "vmi": st.none() | vmis,
        "launchers": st.lists(launchers, max_size=2, unique_by=str),
        "problem": st.none() | st.just(podstatus.Problem("CreateContainerConfigError", "configmap not found")),
        "delete": st.booleans(),
        "gate": st.sampled_from(["True", "False"]),
    }
)
policies = st.sampled_from(["Always", "OnFailure", "Never"])


def new_pod(policy: str, deadline: int | None) -> Pod:
    spec = {
        "restartPolicy": policy,
        "activeDeadlineSeconds": deadline,
        "containers": [{"name": "web", "image": "disk", "resources": {"requests": {"cpu": "1"}}}],
        "initContainers": [{"name": "first", "image": "x"}, {"name": "side", "image": "y", "restartPolicy": "Always"}],
        "readinessGates": [{"conditionType": "example.com/gate"}],
    }
    return msgspec.convert(
        {"metadata": {"uid": "pod-1", "generation": 1}, "spec": spec, "status": {"phase": "Pending"}}, Pod
    )  # fmt: skip


def asked_to_end(pod: Pod, step: dict[str, Any]) -> Pod:
    """Deletion is not taken back; the gate is somebody else's."""
    gate = [{"type": "example.com/gate", "status": step["gate"]}]
    status = strategicmerge.apply(msgspec.to_builtins(pod.status), {"conditions": gate})
    metadata = pod.metadata
    if step["delete"] and metadata.deletion_timestamp is None:
        metadata = msgspec.structs.replace(metadata, deletion_timestamp=START, generation=2)
    return msgspec.structs.replace(pod, metadata=metadata, status=msgspec.convert(status, PodStatus))


def snapshot_of(pod: Pod, intent: Intent, step: dict[str, Any]) -> Snapshot:
    return Snapshot(
        key=KEY,
        pod=pod,
        intent=intent,
        vm=msgspec.convert(step["vm"], VirtualMachine | None),
        vmi=msgspec.convert(step["vmi"], VirtualMachineInstance | None),
        launchers=msgspec.convert(step["launchers"], list[Launcher]),
    )


def lawful(pod: Pod, before: list[ContainerStatus], after: list[ContainerStatus]) -> bool:
    """``ValidateContainerStateTransition`` and its twin for init containers, of the API server."""
    own_policy = {one.name: one.restart_policy for one in [*pod.spec.containers, *pod.spec.init_containers]}
    states = {one.name: one.state for one in after}
    for status in before:
        end = status.state.terminated if status.state else None
        state = states.get(status.name)
        if end is None or state is None or state.terminated is not None:
            continue
        policy = own_policy[status.name] or pod.spec.restart_policy
        if policy == "Never" or (policy == "OnFailure" and end.exit_code == 0):
            return False
    return True


@given(policies, st.none() | st.integers(0, 40), st.lists(steps, max_size=8))
def test_any_life(policy: str, deadline: int | None, life: list[dict[str, Any]]) -> None:
    pod = new_pod(policy, deadline)
    intent = Intent(uid="pod-1", id="dpl_1", namespace="shop", name="web-0", vm_name="web-0", accepted_at=START)
    for number, step in enumerate(life):
        now = START + timedelta(seconds=5 * number, milliseconds=7)
        pod = asked_to_end(pod, step)
        seen = observe(intent, snapshot_of(pod, intent, step), now)
        snapshot = snapshot_of(pod, seen, step)
        assert observe(seen, snapshot, now) == seen
        assert observe(seen, snapshot, now + timedelta(seconds=1)).termination == seen.termination
        assert seen.restart_count >= intent.restart_count
        assert not intent.outcome or seen.outcome == intent.outcome

        wanted = podstatus.build(snapshot, host_ip="192.0.2.1", problem=step["problem"], now=now)
        patch = statuspatch.patch(pod, wanted, KEY.uid)
        body = patch["status"] if patch is not None else {}
        status = msgspec.convert(strategicmerge.apply(msgspec.to_builtins(pod.status), body), PodStatus)
        after = msgspec.structs.replace(pod, status=status)
        assert statuspatch.patch(after, wanted, KEY.uid) is None
        settled = msgspec.structs.replace(snapshot, pod=after)
        again = podstatus.build(settled, host_ip="192.0.2.1", problem=step["problem"], now=now + timedelta(seconds=60))
        assert statuspatch.patch(after, again, KEY.uid) is None
        assert podevents.events(status, again, settled) == []

        assert pod.status.phase not in TERMINAL or status.phase == pod.status.phase
        assert lawful(pod, pod.status.container_statuses, status.container_statuses)
        assert lawful(pod, pod.status.init_container_statuses, status.init_container_statuses)
        assert all(one.type != "example.com/gate" or one.status == step["gate"] for one in status.conditions)
        assert status.phase not in TERMINAL or not any(one.ready is True for one in status.container_statuses)
        assert bool(status.pod_ip) == bool(status.pod_ips)
        counts = {one.name: one.restart_count for one in pod.status.container_statuses}
        for one in status.container_statuses:
            assert isinstance(one.restart_count, int)
            assert one.restart_count >= (counts.get(one.name) or 0)
        pod, intent = after, seen
