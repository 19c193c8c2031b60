"""A Pod taken apart: what is each machine's own, and how what is said of it is said of the whole."""

from typing import Any

import msgspec
import pytest

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.machine import Role
from kubelet_bridge.model.meta import PodKey, machine_key, machine_uid
from kubelet_bridge.model.snapshot import EventType, PodEvent, Snapshot
from kubelet_bridge.translate.machines import machines, part, told, worded
from kubelet_bridge.translate.machinesupport import machine_refusals
from kubelet_bridge.translate.resources import vm_size
from tests.support.pods import CONFIG, UID, pod

GIB = 2**30


def spread(policy: str = "Always", **more: Any) -> Pod:
    volumes = [{"name": name, "configMap": {"name": name}} for name in ("a", "b", "c")]
    return pod(
        {
            "restartPolicy": policy, "activeDeadlineSeconds": 60, "volumes": volumes,
            "initContainers": [
                {"name": "first", "image": "os:1", "volumeMounts": [{"name": "b", "mountPath": "/b"}]},
                {"name": "side", "image": "os:1", "restartPolicy": "Always"},
            ],
            "containers": [
                {"name": "web", "image": "os:1", "resources": {"limits": {"memory": "2Gi", "cpu": "3"}}},
                {"name": "log", "image": "os:1", "volumeMounts": [{"name": "c", "mountPath": "/c"}]},
            ],
            "ephemeralContainers": [
                {"name": "look", "image": "os:1", "targetContainerName": "log"}, {"name": "any", "image": "os:1"},
            ],
            **more,
        }
    )  # fmt: skip


def alone(of: Pod, container: str) -> Pod:
    found = part(of, container)
    assert found is not None
    return found[0]


def with_status(policy: str, state: dict[str, Any], *, phase: str = "Running", of: str = "containerStatuses") -> Pod:
    name = "log" if of == "containerStatuses" else "first"
    status = {"phase": phase, "podIP": "10.0.0.1", of: [{"name": name, "containerID": "kubevirt://b", "state": state}]}
    made: Pod = msgspec.convert({**msgspec.to_builtins(spread(policy)), "status": status}, Pod)
    return made


def test_machines_come_in_the_order_in_which_containers_begin() -> None:
    assert [(one.container, one.role, one.path) for one in machines(spread())] == [
        ("first", Role.INIT, "spec.initContainers[0]"), ("side", Role.SIDECAR, "spec.initContainers[1]"),
        ("web", Role.MAIN, "spec.containers[0]"), ("log", Role.MAIN, "spec.containers[1]"),
    ]  # fmt: skip


def test_a_part_is_a_pod_of_one_container_with_what_is_its_own() -> None:
    one = alone(spread(), "log")
    assert one.metadata == spread().metadata
    assert [container.name for container in one.spec.containers] == ["log"]
    assert one.spec.init_containers == []
    assert [volume["name"] for volume in one.spec.volumes] == ["c"]
    assert one.spec.active_deadline_seconds is None
    assert [container.name for container in one.spec.ephemeral_containers] == ["look"]
    assert [container.name for container in alone(spread(), "web").spec.ephemeral_containers] == ["any"]
    assert part(spread(), "nobody") is None


def test_each_machine_is_as_large_as_its_container() -> None:
    sizes = {name: vm_size(alone(spread(), name), CONFIG) for name in ("web", "log")}
    assert (sizes["web"].cpu, sizes["web"].memory) == (3, 2 * GIB)
    assert (sizes["log"].cpu, sizes["log"].memory) == (1, GIB)


@pytest.mark.parametrize(
    ("policy", "of_init", "of_main"),
    [("Always", "OnFailure", "Always"), ("OnFailure", "OnFailure", "OnFailure"), ("Never", "Never", "Never")],
)
def test_an_init_container_is_tried_again_unless_nothing_is(policy: str, of_init: str, of_main: str) -> None:
    policies = {name: alone(spread(policy), name).spec.restart_policy for name in ("first", "side", "web")}
    assert policies == {"first": of_init, "side": "Always", "web": of_main}


@pytest.mark.parametrize(
    ("policy", "state", "of", "phase"),
    [
        ("Always", {"running": {}}, "containerStatuses", "Running"),
        ("Always", {"terminated": {"exitCode": 0}}, "containerStatuses", "Running"),
        ("OnFailure", {"terminated": {"exitCode": 0}}, "containerStatuses", "Succeeded"),
        ("OnFailure", {"terminated": {"exitCode": 1}}, "containerStatuses", "Running"),
        ("Never", {"terminated": {"exitCode": 1}}, "containerStatuses", "Failed"),
        ("Always", {"terminated": {"exitCode": 0}}, "initContainerStatuses", "Succeeded"),
        ("Always", {"terminated": {"exitCode": 1}}, "initContainerStatuses", "Running"),
    ],
)
def test_a_part_remembers_how_its_container_ended(policy: str, state: dict[str, Any], of: str, phase: str) -> None:
    whole = with_status(policy, state, of=of)
    one = alone(whole, "log" if of == "containerStatuses" else "first")
    assert one.status.phase == phase
    assert len(one.status.container_statuses) == 1
    assert one.status.pod_ip == "", "the address is the first main container's"
    assert alone(whole, "web").status.pod_ip == "10.0.0.1"


def test_what_is_said_of_a_part_names_the_whole_pods_fields() -> None:
    found = part(spread(), "first")
    assert found is not None
    snapshot = Snapshot(key=PodKey("shop", "web", UID), machine=found[1])
    assert worded(snapshot, "spec.containers[0].command") == "spec.initContainers[0].command"
    assert (
        worded(snapshot, "spec.volumes[0].configMap, spec.hostAliases") == "spec.volumes[1].configMap, spec.hostAliases"
    )
    event = PodEvent(EventType.NORMAL, "Started", "Container started", "spec.containers{first}")
    assert [one.field_path for one in told(snapshot, [event])] == ["spec.initContainers{first}"]
    assert worded(Snapshot(key=PodKey("", "", "")), "spec.containers[0]") == "spec.containers[0]"


def test_a_machine_is_known_by_a_uid_of_its_own() -> None:
    whole = PodKey("shop", "web", UID)
    keys = [machine_key(whole, name) for name in ("web", "log")]
    assert len({UID, *(key.uid for key in keys)}) == 3
    assert keys[0].uid == machine_uid(UID, "web")
    assert [key.owner for key in keys] == [whole, whole]
    assert whole.owner is whole


def test_a_volume_of_files_may_be_mounted_by_several_and_a_disk_by_one() -> None:
    mounts = [{"name": "a", "mountPath": "/a"}]
    containers = [{"name": name, "image": "os:1", "volumeMounts": mounts} for name in ("web", "log")]
    assert machine_refusals(spread(containers=containers), CONFIG) == []
    for source in ("emptyDir", "persistentVolumeClaim"):
        disks = [{"name": "a", source: {"claimName": "a"}}]
        refused = machine_refusals(spread(containers=containers, volumes=disks), CONFIG)
        assert [one.field for one in refused] == [f"spec.volumes[0].{source}"]
        assert machine_refusals(spread(containers=containers[:1], volumes=disks), CONFIG) == []
