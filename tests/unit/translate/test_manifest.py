"""When there is a manifest, and what its revisions follow."""

from typing import Any

import msgspec
import pytest

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.intent import Hosting
from kubelet_bridge.model.kubevirt import Launcher, LauncherStatus, VirtualMachineInstance
from kubelet_bridge.model.meta import ObjectMeta
from kubelet_bridge.model.snapshot import Inputs, PodClaim, Snapshot
from kubelet_bridge.model.storage import ClaimSpec, PersistentVolumeClaim
from kubelet_bridge.translate.manifest import build
from kubelet_bridge.translate.missing import MissingInputs
from kubelet_bridge.translate.pullsecrets import Credential
from tests.support.pods import GUESTS, config_map, pod, secret, snapshot

VOLUME: dict[str, Any] = {"name": "conf", "configMap": {"name": "conf"}}


def running(of: Pod, inputs: Inputs | None = None, ip: str = "10.0.0.1", boot: str = "boot-1") -> Snapshot:
    world = snapshot(of, inputs)
    assert world.intent is not None
    return msgspec.structs.replace(
        world,
        intent=msgspec.structs.replace(world.intent, vmi_uid="boot-1", hosting=Hosting.OCI),
        vmi=VirtualMachineInstance(metadata=ObjectMeta(uid=boot)),
        launchers=[Launcher(status=LauncherStatus(pod_ip=ip))],
    )


def made(of: Pod, inputs: Inputs | None = None) -> pb.PodManifest:
    found = build(running(of, inputs), GUESTS)
    assert found is not None
    return found


def test_there_is_none_before_the_boot_was_taken_note_of() -> None:
    assert build(running(pod(), boot="boot-2"), GUESTS) is None
    assert build(snapshot(pod()), GUESTS) is None


def test_there_is_none_before_the_address_is_known() -> None:
    assert build(running(pod(), ip=""), GUESTS) is None


def test_a_changed_file_is_another_files_revision_only() -> None:
    of = pod({"volumes": [VOLUME]})
    one = made(of, Inputs(config_maps={"conf": config_map("conf", a="1")}))
    other = made(of, Inputs(config_maps={"conf": config_map("conf", a="2", b="3")}))
    assert one.revision == other.revision
    assert one.files_revision != other.files_revision


def test_changed_keys_are_no_other_revision() -> None:
    of = pod(annotations={"kubelet-bridge.io/ssh-keys": "keys"})
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHUFcLQ7PV2GD0Du/ZZTfgPm1Z3lGNX3h1yDhJ4vMsGb"
    one, other = (made(of, Inputs(secrets={"keys": secret("keys", a=text)})) for text in (key, f"{key} me"))
    assert one.revision == other.revision
    assert one.ssh_keys.revision != other.ssh_keys.revision
    assert one.files_revision != other.files_revision


def test_another_image_is_another_revision() -> None:
    other = pod({"containers": [{"name": "app", "image": "example.com/os:2"}]})
    assert made(pod()).revision != made(other).revision


def test_the_same_world_has_the_same_revisions() -> None:
    of = pod({"volumes": [VOLUME]}, labels={"a": "b"})
    inputs = Inputs(config_maps={"conf": config_map("conf", b="1", a="2")})
    assert made(of, inputs) == made(of, Inputs(config_maps={"conf": config_map("conf", a="2", b="1")}))


@pytest.mark.parametrize("optional", [True, False])
def test_a_missing_object_matters_unless_it_is_optional(optional: bool) -> None:
    of = pod({"volumes": [{"name": "conf", "configMap": {"name": "conf", "optional": optional}}]})
    inputs = Inputs(config_maps={"conf": None})
    if optional:
        assert list(made(of, inputs).volumes[0].files.files) == []
        return
    with pytest.raises(MissingInputs, match="not found") as caught:
        made(of, inputs)
    assert caught.value.waiting == "ContainerCreating"


def test_a_sub_path_of_a_variable_that_is_not_there_keeps_the_container_from_starting() -> None:
    mount = {"name": "conf", "mountPath": "/c", "subPathExpr": "$(NOBODY)"}
    of = pod({"containers": [{"name": "app", "image": "a", "volumeMounts": [mount]}], "volumes": [{"name": "conf"}]})
    with pytest.raises(MissingInputs, match="failed to expand subPath"):
        made(of)


def test_an_ephemeral_container_that_lacks_something_does_not_stop_the_others() -> None:
    lacking = {"name": "debug", "image": "a", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}]}
    found = made(pod({"ephemeralContainers": [lacking, {"name": "shell", "image": "b"}]}))
    assert [one.name for one in found.ephemeral_containers] == ["shell"]
    assert [one.name for one in found.containers] == ["app"]


@pytest.mark.parametrize("hosting", [Hosting.MACHINE, Hosting.SYSTEM])
def test_on_an_os_an_ephemeral_container_is_a_command_there_and_a_shell_without_one(hosting: Hosting) -> None:
    mount = {"name": "gone", "mountPath": "/c"}
    of = pod({"ephemeralContainers": [
        {"name": "shell", "image": "b", "volumeMounts": [mount] if hosting is Hosting.MACHINE else []},
        {"name": "look", "image": "b", "command": ["ps"], "args": ["ax"]},
    ]})  # fmt: skip
    world = running(of)
    assert world.intent is not None
    found = build(msgspec.structs.replace(world, intent=msgspec.structs.replace(world.intent, hosting=hosting)), GUESTS)
    assert found is not None
    commands = [(one.name, list(one.command), list(one.args)) for one in found.ephemeral_containers]
    assert commands == [("shell", ["/bin/sh", "-l"], []), ("look", ["ps"], ["ax"])]
    assert not found.ephemeral_containers[0].mounts


def test_credentials_are_not_in_what_is_printed_of_them() -> None:
    assert "secret" not in repr(Credential("r", "me", "secret", "secret-token"))


@pytest.mark.parametrize(
    ("mounts", "devices", "claim", "wanted"),
    [
        (["data"], [], ClaimSpec(access_modes=["ReadWriteOnce"]), pb.Disk(serial="data", format_if_empty=True)),
        (["data"], [], ClaimSpec(access_modes=["ReadOnlyMany"]), pb.Disk(serial="data", read_only=True)),
        ([], ["data"], ClaimSpec(volume_mode="Block"), pb.Disk(serial="data", block=True)),
        (["data"], [], ClaimSpec(volume_mode="Block"), pb.Disk(serial="data", block=True)),
        ([], [], ClaimSpec(access_modes=["ReadWriteOnce"]), None),
    ],
)
def test_only_a_disk_that_is_mounted_to_be_written_may_be_formatted(
    mounts: list[str], devices: list[str], claim: ClaimSpec, wanted: pb.Disk | None
) -> None:
    container = {
        "name": "main", "image": "nginx",
        "volumeMounts": [{"name": name, "mountPath": "/data"} for name in mounts],
        "volumeDevices": [{"name": name, "devicePath": "/dev/data"} for name in devices],
    }  # fmt: skip
    of = pod({"containers": [container], "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "db"}}]})
    found = made(of, Inputs(claims={"db": PodClaim(PersistentVolumeClaim(spec=claim))}))
    assert [one.disk for one in found.volumes] == ([wanted] if wanted is not None else [])
