"""``rendered/*.values.yaml`` → ``*.objects.yaml``: what is installed, variant by variant, to be read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubelet_bridge.devcluster.bridge import RULES
from tests.support import golden
from tests.support.chart import MUTATING, NAMESPACE, Helm, pick, validate
from tests.support.rights import granted

pytestmark = pytest.mark.helm

VARIANTS = sorted((Path(__file__).parent / "rendered").glob("*.values.yaml"))
PROMETHEUS = "monitoring.coreos.com/v1"
Json = dict[str, Any]


def _name(path: Path) -> str:
    return path.name.removesuffix(".values.yaml")


def _rendered(helm: Helm, path: Path, directory: Path) -> list[Json]:
    """``served`` in the file is what the cluster serves; the rest are values."""
    values = yaml.safe_load(path.read_text()) or {}
    served = tuple(values.pop("served", ()))
    return helm.render(values, served=served, directory=directory)


@pytest.mark.parametrize("path", VARIANTS, ids=_name)
def test_what_is_installed(helm: Helm, path: Path, tmp_path: Path, update_golden: bool) -> None:
    golden.check(path.with_name(f"{_name(path)}.objects.yaml"), _rendered(helm, path, tmp_path), update=update_golden)


@pytest.mark.parametrize("path", VARIANTS, ids=_name)
def test_kubernetes_knows_every_field(helm: Helm, path: Path, tmp_path: Path) -> None:
    for one in _rendered(helm, path, tmp_path):
        if one["apiVersion"] != PROMETHEUS:
            validate(one)


def _pods(objects: list[Json]) -> Iterator[Json]:
    """The bridge, the test, and what the test schedules."""
    for one in objects:
        if one["kind"] == "StatefulSet":
            yield one["spec"]["template"]
        elif one["kind"] == "Pod":
            yield one
        elif "pod.yaml" in one.get("data", {}):
            yield yaml.safe_load(one["data"]["pod.yaml"])


@pytest.mark.parametrize("path", VARIANTS, ids=_name)
def test_pods_keep_the_restricted_standard(helm: Helm, path: Path, tmp_path: Path) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, and a read-only root."""
    pods = list(_pods(_rendered(helm, path, tmp_path)))
    assert len(pods) == 3
    for spec in (pod["spec"] for pod in pods):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        for volume in spec.get("volumes", []):
            assert {"configMap", "emptyDir", "secret"} & volume.keys()
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }  # fmt: skip


@pytest.mark.parametrize("path", VARIANTS, ids=_name)
def test_pods_keep_what_policies_usually_ask(helm: Helm, path: Path, tmp_path: Path) -> None:
    """https://kyverno.io/policies: no ``latest``, requests and limits, the recommended labels, tokens by choice."""
    for pod in _pods(_rendered(helm, path, tmp_path)):
        assert "app.kubernetes.io/name" in pod["metadata"]["labels"]
        assert pod["spec"]["automountServiceAccountToken"] is ("serviceAccountName" in pod["spec"])
        for container in pod["spec"]["containers"]:
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]
            _, separator, version = container["image"].rpartition("@" if "@" in container["image"] else ":")
            assert separator
            assert version not in ("", "latest")
            assert "//" not in container["image"]


@pytest.mark.parametrize("path", VARIANTS, ids=_name)
def test_no_right_is_a_wildcard(helm: Helm, path: Path, tmp_path: Path) -> None:
    for one in _rendered(helm, path, tmp_path):
        for rule in one.get("rules", []) if one["kind"] in ("Role", "ClusterRole") else []:
            assert not any("*" in word for words in rule.values() for word in words), rule


def test_the_development_clusters_bridge_has_these_rights(helm: Helm, tmp_path: Path) -> None:
    """So that every test that runs a bridge there tries them."""
    rights = {right[:3] for right in granted(helm.render(served=MUTATING, directory=tmp_path))}
    assert rights - {("", "pods", "create")} == {  # that of helm test
        (group, resource, verb) for group, resources, verbs in RULES for resource in resources for verb in verbs
    }


def test_what_is_done_for_pods_can_be_kept_to_namespaces(helm: Helm, tmp_path: Path) -> None:
    values = {"rbac": {"namespaces": ["shop"]}, "images": {"namespace": "golden"}}
    narrow, wide = (granted(helm.render(one, served=MUTATING, directory=tmp_path)) for one in (values, {}))
    everywhere = {right.resource for right in narrow if not right.namespace and not right.name}
    assert not everywhere & {"secrets", "configmaps", "serviceaccounts/token", "pods/log", "datavolumes/source"}
    assert {right.verb for right in narrow if right.group == "kubevirt.io" and not right.namespace} == {"list", "watch"}
    assert {right.namespace for right in narrow if right.resource == "secrets"} == {"shop", "golden", NAMESPACE}
    assert {right[:3] for right in narrow} == {right[:3] for right in wide}


def test_secrets_cannot_be_listed(helm: Helm, tmp_path: Path) -> None:
    objects = helm.render(directory=tmp_path)
    rules = [rule for one in objects if one["kind"] == "ClusterRole" for rule in one["rules"]]
    verbs = {verb for rule in rules if "secrets" in rule["resources"] for verb in rule["verbs"]}
    assert verbs == {"get", "create", "patch"}


@pytest.mark.parametrize(
    ("by", "served", "policy", "bridge"),
    [
        ("auto", MUTATING, True, False), ("auto", (), False, True), ("policy", (), True, False),
        ("bridge", MUTATING, False, True), ("none", MUTATING, False, False),
    ],
)  # fmt: skip
def test_one_of_two_keeps_pods_from_eviction(
    helm: Helm, tmp_path: Path, by: str, served: tuple[str, ...], policy: bool, bridge: bool
) -> None:
    objects = helm.render({"outageTolerations": {"by": by}}, served=served, directory=tmp_path)
    assert any(one["kind"] == "MutatingAdmissionPolicy" for one in objects) is policy
    config = yaml.safe_load(pick(objects, "ConfigMap")["data"]["config.yaml"])
    assert config.get("tolerate_outages", False) is bridge
    kubelet = pick(objects, "ClusterRole", "kubelet-bridge.kubelet-bridge.kubelet")
    verbs = next(rule["verbs"] for rule in kubelet["rules"] if rule["resources"] == ["pods"])
    assert ("patch" in verbs) is bridge


def test_two_releases_do_not_meet(helm: Helm, tmp_path: Path) -> None:
    """All but what belongs to the cluster as a whole, which the second leaves to the first."""
    shared = {"csiDriver": {"create": False}, "storageClass": {"create": False}, "runtimeClass": {"create": False}}

    def cluster_scoped(namespace: str) -> set[tuple[str, str]]:
        file = tmp_path / "values.yaml"
        file.write_text(yaml.safe_dump(shared))
        done = helm.run(
            "template", "kb", str(Path("charts/kubelet-bridge").absolute()), "--namespace", namespace,
            "--values", str(file), "--api-versions", MUTATING[0],
        )  # fmt: skip
        found = [one for one in yaml.safe_load_all(done.stdout) if one]
        return {
            (one["kind"], one["metadata"]["name"]) for one in found if one["metadata"].get("namespace") != namespace
        }

    assert cluster_scoped("one")
    assert not cluster_scoped("one") & cluster_scoped("two")
