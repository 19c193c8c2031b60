"""Pods with a VM for each container: each ``pods/machines-*.pod.yaml`` has its ``.machines.yaml``.

That is, by container, the VM and what its agent is told; or why the Pod is refused.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubelet_bridge.cli.render import translated, worlds
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.meta import ANNOTATION_SPEC_HASH, cloud_init_secret_name
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.translate import manifest
from kubelet_bridge.translate.image import hosting
from kubelet_bridge.translate.machinesupport import machine_refusals
from tests.golden import test_manifests
from tests.golden.test_pods import FOLDER, read, sibling
from tests.support import golden, schemas
from tests.support.pods import GUESTS, inputs_of

PODS = sorted(FOLDER.glob("machines-*.pod.yaml"))


@pytest.mark.parametrize("path", PODS, ids=lambda path: path.name.removesuffix(".pod.yaml"))
def test_pod_becomes_what_the_golden_file_says(path: Path, update_golden: bool) -> None:
    pod, documents = read(path)
    inputs = inputs_of(documents, pod)
    made, _ = translated(pod, inputs, GUESTS)
    if not made:
        document: dict[str, Any] = {one.field: one.reason for one in machine_refusals(pod, GUESTS)}
    else:
        document = {}
        for world, manifests in zip(worlds(pod, inputs), made, strict=True):
            schemas.validate(manifests.virtual_machine)
            assert manifests.secret["metadata"]["name"] == cloud_init_secret_name(world.key)
            del manifests.virtual_machine["metadata"]["annotations"][ANNOTATION_SPEC_HASH]
            document[world.key.container] = {
                "virtualMachine": manifests.virtual_machine,
                "allocation": msgspec.to_builtins(manifests.allocation),
                "events": [f"{one.type} {one.reason} {one.field_path}: {one.message}" for one in manifests.notes],
                "manifest": told(world),
            }
    golden.check(sibling(path, "machines"), document, update=update_golden)


def told(world: Snapshot) -> dict[str, Any]:
    """What the agent in a machine that runs for the first time is told."""
    assert world.pod is not None
    running = test_manifests.running(world.pod, world.inputs or test_manifests.Inputs())
    intent = running.intent
    assert isinstance(intent, Intent)
    intent = msgspec.structs.replace(intent, carried={}, hosting=hosting(world.pod, GUESTS))
    made = manifest.build(msgspec.structs.replace(running, key=world.key, intent=intent), GUESTS, host_ip="192.0.2.10")
    assert made is not None
    assert made.pod_uid == world.key.uid
    return test_manifests.readable(made)
