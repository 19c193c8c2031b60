"""KubeVirt's and CDI's CRD schemas as JSON Schema, closed: a field that they do not know is an error.

KubeVirt's come from the file that ``KUBELET_BRIDGE_SCHEMAS`` names (a JSON List of CRDs), or from the
``kubevirt-manifests`` that the development cluster has built; CDI's from the folder that ``KUBELET_BRIDGE_CDI_SCHEMAS``
names (a YAML file for each CRD), or from ``shared/data/cdi-crds`` beside the repository.
"""

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from kubelet_bridge.devcluster.binaries import BIN_DIR_VARIABLE, cache_directory
from kubelet_bridge.devcluster.programs import pinned_version

VARIABLE = "KUBELET_BRIDGE_SCHEMAS"
CDI_VARIABLE = "KUBELET_BRIDGE_CDI_SCHEMAS"
CDI_GROUP = "cdi.kubevirt.io/"
PROGRAM = "kubevirt-manifests"


def validate(manifest: dict[str, Any]) -> None:
    """Fail when ``manifest`` does not fit the CRD of its kind; skip where there are no CRDs."""
    cdi = manifest["apiVersion"].startswith(CDI_GROUP)
    validator = _validator(manifest["kind"], cdi=cdi)
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]
    assert not errors, "\n".join(errors)


@functools.cache
def _validator(kind: str, *, cdi: bool) -> Draft202012Validator:
    for item in _cdi_manifests() if cdi else json.loads(_manifests())["items"]:
        if item["kind"] == "CustomResourceDefinition" and item["spec"]["names"]["kind"] == kind:
            stored = next(version for version in item["spec"]["versions"] if version["storage"])
            return Draft202012Validator(_closed(stored["schema"]["openAPIV3Schema"]))
    raise AssertionError(f"no CRD of kind {kind}")


@functools.cache
def _cdi_manifests() -> list[Any]:
    beside = Path(__file__).parents[2].parent / "shared" / "data" / "cdi-crds"
    folder = Path(os.environ.get(CDI_VARIABLE) or beside)
    if not folder.is_dir():
        pytest.skip(f"no CDI schemas: {CDI_VARIABLE} is not set, and there is no {beside.name} beside the repository")
    return [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.yaml"))]


@functools.cache
def _manifests() -> str:
    if path := os.environ.get(VARIABLE):
        return Path(path).read_text()
    cached = cache_directory("kubevirt", pinned_version("kubevirt"))
    places = [os.environ.get(BIN_DIR_VARIABLE, ""), str(cached), os.environ.get("PATH", "")]
    program = shutil.which(PROGRAM, path=os.pathsep.join(filter(None, places)))
    if program is None:
        pytest.skip(f"no KubeVirt schemas: {VARIABLE} is not set, and `kubelet-bridge dev up` has not built {PROGRAM}")
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout


def _closed(schema: Any) -> Any:
    """OpenAPI v3 as JSON Schema: nullable and int-or-string translated, known objects closed."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: value for key, value in schema.items() if key not in ("description", "format", "properties")}
    found = {key: _closed(value) for key, value in found.items()}
    if schema.get("x-kubernetes-int-or-string"):
        found["type"] = ["integer", "string"]
    if schema.get("nullable"):
        found["type"] = [schema["type"], "null"]
    if "properties" in schema:
        found["properties"] = {name: _closed(value) for name, value in schema["properties"].items()}
        found.setdefault("additionalProperties", bool(schema.get("x-kubernetes-preserve-unknown-fields")))
    return found
