"""What the golden files do not show: what does not change the VM, and what must never be in it."""

from typing import Any

import msgspec
import pytest

from kubelet_bridge.model.meta import ANNOTATION_SPEC_HASH
from kubelet_bridge.model.snapshot import Inputs
from kubelet_bridge.translate.missing import MissingInputs
from kubelet_bridge.translate.network import forwarded_ports
from kubelet_bridge.translate.support import RULES, refusals
from kubelet_bridge.translate.supportpage import document
from kubelet_bridge.translate.table import WHERE
from kubelet_bridge.translate.virtualmachine import build
from kubelet_bridge.translate.volumes import SCRATCH_SERIAL, serial
from tests.support.pods import CONFIG, built, config_map, container, instance, pod, snapshot


def test_labels_and_annotations_of_the_pod_do_not_touch_the_vm() -> None:
    one = built(pod(labels={"app": "web"}))
    other = built(pod(labels={"app": "api", "tier": "x"}, annotations={"example.com/a": "b"}))
    assert one == other
    assert "app" not in one.virtual_machine["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize(
    "spec", [{"terminationGracePeriodSeconds": 5}, {"containers": [{"name": "app", "image": "b"}]}]
)
def test_another_spec_has_another_hash(spec: dict[str, Any]) -> None:
    one, other = built(pod()), built(pod(spec))
    assert one.spec_hash != other.spec_hash
    assert other.virtual_machine["metadata"]["annotations"][ANNOTATION_SPEC_HASH] == other.spec_hash


def test_the_hash_covers_the_secret() -> None:
    asked = container(envFrom=[{"configMapRef": {"name": "m"}}])
    first, second = (built(asked, Inputs({"m": config_map("m", A=value)})) for value in ("1", "2"))
    assert first.spec_hash != second.spec_hash


def test_the_readable_id_is_no_part_of_the_hash() -> None:
    """A database that was lost and rebuilt must not apply everything anew."""
    known = snapshot(pod())
    unknown = msgspec.structs.replace(known, intent=None)
    assert build(known, "web", CONFIG).spec_hash == build(unknown, "web", CONFIG).spec_hash


@pytest.mark.parametrize(
    ("policy", "strategy"), [("Always", "Always"), ("OnFailure", "RerunOnFailure"), ("Never", "Once")]
)
def test_run_strategy(policy: str, strategy: str) -> None:
    assert built(pod({"restartPolicy": policy})).virtual_machine["spec"]["runStrategy"] == strategy


def test_every_manifest_goes_away_with_the_pod() -> None:
    made = built(pod())
    for manifest in (made.secret, made.virtual_machine):
        (owner,) = manifest["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("Pod", manifest["metadata"]["labels"]["kubelet-bridge.io/pod-uid"])


def test_inputs_that_were_not_looked_up_count_as_missing() -> None:
    asked = container(envFrom=[{"configMapRef": {"name": "m"}}])
    with pytest.raises(MissingInputs, match='configmap "m" not found') as caught:
        build(msgspec.structs.replace(snapshot(asked), inputs=None), "web", CONFIG)
    assert [note.reason for note in caught.value.notes] == ["MandatoryConfigMapNotFound"]


def test_no_declared_port_leaves_every_port_open() -> None:
    assert forwarded_ports(container(readinessProbe={"tcpSocket": {"port": 8080}})) == []


def test_declared_ports_come_once_and_names_are_unique() -> None:
    ports = [
        {"containerPort": 80, "name": "web"}, {"containerPort": 80, "name": "again"},
        {"containerPort": 81, "name": "web"}, {"containerPort": 80, "protocol": "UDP"},
    ]  # fmt: skip
    assert forwarded_ports(container(ports=ports)) == [
        {"port": 80, "protocol": "TCP", "name": "web"}, {"port": 81, "protocol": "TCP"},
        {"port": 80, "protocol": "UDP"},
    ]  # fmt: skip


def test_a_probe_of_another_host_opens_no_port() -> None:
    probe = {"httpGet": {"port": 9000, "host": "other.example"}}
    asked = container(ports=[{"containerPort": 80}], livenessProbe=probe)
    assert forwarded_ports(asked) == [{"port": 80, "protocol": "TCP"}]


@pytest.mark.parametrize(("port", "number"), [(80, 80), ("http", 8080), ("81", 81)])
def test_probe_ports_are_numbers(port: int | str, number: int) -> None:
    asked = container(ports=[{"containerPort": 8080, "name": "http"}], readinessProbe={"tcpSocket": {"port": port}})
    assert instance(asked)["readinessProbe"]["tcpSocket"] == {"port": number}


def test_a_name_of_two_volumes_is_not_ours_to_take() -> None:
    asked = pod({"volumes": [{"name": "root"}, {"name": "root-vm"}]})
    assert [disk["name"] for disk in instance(asked)["domain"]["devices"]["disks"]] == [
        "root-vm-vm",
        "root",
        "root-vm",
        "cloudinit",
    ]


def test_serial_numbers_fit_a_virtio_disk_and_differ() -> None:
    volumes = [{"name": f"a-volume-with-a-long-name-{number}"} for number in range(3)]
    disks = instance(pod({"volumes": volumes}))["domain"]["devices"]["disks"]
    serials = {disk["serial"] for disk in disks if "serial" in disk}
    assert len(serials) == 3
    assert max(map(len, serials)) <= 20


def test_a_debug_container_does_not_reject_a_pod() -> None:
    debugger = {"name": "debugger", "image": "busybox", "securityContext": {"privileged": True}}
    asked = pod({"ephemeralContainers": [debugger]})
    assert refusals(asked, CONFIG) == []
    assert built(asked) == built(pod())


def test_sizes_beyond_any_machine_are_refused() -> None:
    asked = container(resources={"limits": {"cpu": "3.5G", "memory": "8Ei"}, "requests": {"cpu": 4096}})
    assert [one.field for one in refusals(asked, CONFIG)] == [
        "spec.containers[0].resources.limits[cpu]",
        "spec.containers[0].resources.limits[memory]",
    ]


def test_every_rule_stands_in_the_document() -> None:
    page = document()
    assert all(f"| `{rule.field}` | {WHERE[rule.of]} | {rule.text} |" in page for rule in RULES)


def test_no_volume_is_taken_for_the_scratch_disk() -> None:
    made = serial(SCRATCH_SERIAL)
    assert (made != SCRATCH_SERIAL, len(made)) == (True, 20)
    assert serial("data") == "data"
