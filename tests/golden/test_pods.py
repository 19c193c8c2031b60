"""Pods and what they become: each ``pods/NAME.pod.yaml`` has its ``NAME.vm.yaml``, or its ``NAME.refused.yaml``."""

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.core import Pod
from kubelet_bridge.translate.image import Unresolvable
from kubelet_bridge.translate.missing import MissingInputs
from kubelet_bridge.translate.support import CannotTranslate
from kubelet_bridge.translate.virtualmachine import Manifests
from tests.support import golden, schemas
from tests.support.pods import built, inputs_of

FOLDER = Path(__file__).parent / "pods"
WITH_AGENTS = sorted(path for kind in ("oci", "system") for path in FOLDER.glob(f"{kind}-*.pod.yaml"))
"""``test_manifests`` has these, and ``test_machines`` those with a VM for each container."""
PODS = sorted({*FOLDER.glob("*.pod.yaml")} - {*WITH_AGENTS, *FOLDER.glob("machines-*.pod.yaml")})


def read(path: Path) -> tuple[Pod, list[dict[str, Any]]]:
    documents = list(yaml.safe_load_all(path.read_text()))
    found = next(document for document in documents if document["kind"] == "Pod")
    return msgspec.convert(found, Pod), documents


def sibling(path: Path, kind: str) -> Path:
    return path.with_name(path.name.replace(".pod.yaml", f".{kind}.yaml"))


@pytest.mark.parametrize("path", PODS, ids=lambda path: path.name.removesuffix(".pod.yaml"))
def test_pod_becomes_what_the_golden_file_says(path: Path, update_golden: bool) -> None:
    pod, documents = read(path)
    try:
        made = built(pod, inputs_of(documents, pod))
    except (CannotTranslate, Unresolvable, MissingInputs) as error:
        golden.check(sibling(path, "refused"), refused(error), update=update_golden)
        assert not sibling(path, "vm").exists()
        return
    golden.check(sibling(path, "vm"), readable(made), update=update_golden)
    assert not sibling(path, "refused").exists()


@pytest.mark.parametrize("path", [path for path in PODS if sibling(path, "vm").exists()], ids=lambda path: path.name)
def test_virtual_machine_fits_kubevirts_schema(path: Path) -> None:
    pod, documents = read(path)
    schemas.validate(built(pod, inputs_of(documents, pod)).virtual_machine)


def refused(error: Terminal) -> dict[str, Any]:
    """The error, with the fields of a rejection or the events of what is missing."""
    document: dict[str, Any] = {"error": type(error).__name__, "message": error.message}
    if isinstance(error, CannotTranslate):
        document |= {"refusals": {one.field: one.reason for one in error.refusals}}
    if isinstance(error, MissingInputs):
        document |= {"events": [f"{one.type} {one.reason} {one.field_path}: {one.message}" for one in error.notes]}
    return document


def readable(made: Manifests) -> dict[str, Any]:
    """The Secret with its content decoded, the VM, the promise and the events."""
    data = {key: base64.b64decode(text) for key, text in made.secret["data"].items()}
    assert data["userdata"].startswith(b"#cloud-config\n")
    user_data = msgspec.json.decode(data["userdata"].removeprefix(b"#cloud-config\n"))
    for file in user_data.get("write_files", []):
        file["content"] = base64.b64decode(file["content"]).decode().splitlines()
    user_data["runcmd"] = [[*program, script.splitlines()] for *program, script in user_data["runcmd"]]
    content = {"userdata": user_data, "networkdata": msgspec.json.decode(data["networkdata"])}
    return {
        "secret": {**made.secret, "data": content},
        "virtualMachine": made.virtual_machine,
        "allocation": msgspec.to_builtins(made.allocation),
        "events": [f"{one.type} {one.reason} {one.field_path}: {one.message}" for one in made.notes],
    }
