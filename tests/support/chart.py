"""The Helm chart, rendered by the real helm as for a cluster of a given kind."""

import functools
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from kubelet_bridge.devcluster import binaries, gobuild
from kubelet_bridge.devcluster.programs import pinned_version
from kubelet_bridge.devcluster.progress import Progress
from kubelet_bridge.errors import Terminal

CHART = Path(__file__).parents[2] / "charts" / "kubelet-bridge"
RELEASE, NAMESPACE = "kubelet-bridge", "kubelet-bridge"
MUTATING = ("admissionregistration.k8s.io/v1/MutatingAdmissionPolicy",)
"""What a cluster serves that makes Pods tolerate outages by a policy."""

Json = dict[str, Any]


class Helm:
    """One helm binary."""

    def __init__(self, binary: Path) -> None:
        self._binary = binary

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self._binary), *arguments], capture_output=True, text=True, check=False, timeout=60,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def refuses(self, values: Path) -> str:
        """What is said of values that are not taken; fails when they are."""
        done = self.run("template", RELEASE, str(CHART), "--values", str(values))
        assert done.returncode != 0, f"these values were taken: {values.read_text()}"
        return done.stderr

    def render(self, values: Json | None = None, *, served: tuple[str, ...] = (), directory: Path) -> list[Json]:
        """Every object, tests included, in the order in which helm writes them."""
        file = directory / "values.yaml"
        file.write_text(json.dumps(values or {}))
        versions = [argument for one in served for argument in ("--api-versions", one)]
        done = self.run(
            "template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", str(file), *versions
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [one for one in yaml.safe_load_all(done.stdout) if one]


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Built once by Go, for some minutes."""
    return Helm(binaries.helm(Progress()))


def pick(objects: list[Json], kind: str, name: str = RELEASE) -> Json:
    """The one object of that kind and name."""
    found = [one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    assert len(found) == 1, f"{len(found)} of {kind} {name} in {[(o['kind'], o['metadata']['name']) for o in objects]}"
    return found[0]


def validate(manifest: Json) -> None:
    """Fail when Kubernetes does not know a field of ``manifest``; skip where its sources are not."""
    group, _, version = manifest["apiVersion"].rpartition("/")
    validator = _validator(group, version, manifest["kind"])
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]
    assert not errors, f"{manifest['kind']} {manifest['metadata']['name']}: {errors}"


@functools.cache
def _validator(group: str, version: str, kind: str) -> Draft202012Validator:
    wanted = {"group": group, "version": version, "kind": kind}
    schemas = _definitions()
    for name, one in schemas.items():
        if wanted in one.get("x-kubernetes-group-version-kind", []):
            return Draft202012Validator({"$ref": f"#/definitions/{name}", "definitions": schemas})
    raise AssertionError(f"Kubernetes has no {wanted}")


@functools.cache
def _definitions() -> Json:
    """Kubernetes' own OpenAPI document, from its Go module; objects whose fields are known are closed."""
    try:
        with gobuild.workspace("kubernetes", pinned_version("kubernetes")) as source:
            document = gobuild.module_directory("k8s.io/kubernetes", source) / "api" / "openapi-spec" / "swagger.json"
            definitions: Json = json.loads(document.read_bytes())["definitions"]
    except (Terminal, FileNotFoundError) as error:
        pytest.skip(f"no sources of Kubernetes: {error}")
    for name, one in definitions.items():
        if "properties" in one:
            one.setdefault("additionalProperties", False)
        if name.endswith(("api.resource.Quantity", "util.intstr.IntOrString")):
            one["type"] = ["string", "number"]
    return definitions
