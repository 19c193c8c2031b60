"""Pods on a node with agents: each ``pods/oci-*.pod.yaml`` and ``system-*`` has its VM and its agent's manifest.

``NAME.guest.yaml`` is both, or why there are none; of the cloud-init Secret ``test_cloudinit`` has its own.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf.json_format import MessageToDict

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.model.core import Ip, Pod
from kubelet_bridge.model.guest import GuestTermination
from kubelet_bridge.model.intent import Carried
from kubelet_bridge.model.kubevirt import Launcher, LauncherStatus, VirtualMachineInstance
from kubelet_bridge.model.meta import ANNOTATION_SPEC_HASH, ObjectMeta
from kubelet_bridge.model.snapshot import Inputs, Snapshot, TokenWanted
from kubelet_bridge.translate import manifest
from kubelet_bridge.translate.image import hosting
from kubelet_bridge.translate.missing import MissingInputs
from kubelet_bridge.translate.support import CannotTranslate
from tests.golden.test_pods import WITH_AGENTS, read, refused, sibling
from tests.support import golden, schemas
from tests.support.pods import GUESTS, built, inputs_of, snapshot

CARRIED = {"other": Carried(3, GuestTermination(0, "Completed")), "work": Carried(2, GuestTermination(1, "Error"))}


def running(of: Pod, inputs: Inputs) -> Snapshot:
    """The Pod's VM runs for the second time: one container had succeeded in the first."""
    world = snapshot(of, msgspec.structs.replace(inputs, tokens={TokenWanted("", 3607): "a-token"}))
    intent = world.intent
    assert intent is not None
    return msgspec.structs.replace(
        world,
        intent=msgspec.structs.replace(intent, vmi_uid="boot-2", hosting=hosting(of, GUESTS), carried=CARRIED),
        vmi=VirtualMachineInstance(metadata=ObjectMeta(uid="boot-2")),
        launchers=[Launcher(status=LauncherStatus(pod_ip="10.2.0.7", pod_ips=[Ip("10.2.0.7"), Ip("fd00::7")]))],
    )


@pytest.mark.parametrize("path", WITH_AGENTS, ids=lambda path: path.name.removesuffix(".pod.yaml"))
def test_pod_becomes_what_the_golden_file_says(path: Path, update_golden: bool) -> None:
    pod, documents = read(path)
    inputs = inputs_of(documents, pod)
    try:
        made = built(pod, inputs, GUESTS)
    except (CannotTranslate, MissingInputs) as error:
        golden.check(sibling(path, "guest"), refused(error), update=update_golden)
        return
    schemas.validate(made.virtual_machine)
    told = manifest.build(running(pod, inputs), GUESTS, host_ip="192.0.2.10")
    assert told is not None
    machine = made.virtual_machine
    del machine["metadata"]["annotations"][ANNOTATION_SPEC_HASH]
    document = {
        "virtualMachine": machine,
        "allocation": msgspec.to_builtins(made.allocation),
        "events": [f"{one.type} {one.reason} {one.field_path}: {one.message}" for one in made.notes],
        "manifest": readable(told),
    }
    golden.check(sibling(path, "guest"), document, update=update_golden)


def readable(told: pb.PodManifest) -> dict[str, Any]:
    """Protobuf's JSON, with the content of files as text."""
    document: dict[str, Any] = MessageToDict(told, preserving_proto_field_name=True)
    texts = {
        (volume.name, file.path): file.content.decode(errors="backslashreplace")
        for volume in told.volumes
        for file in volume.files.files
    }
    for volume in document.get("volumes", []):
        for file in volume.get("files", {}).get("files", []):
            file["content"] = texts[volume["name"], file["path"]]
    return document
