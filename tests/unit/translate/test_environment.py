from typing import Any

import pytest

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.snapshot import Inputs
from kubelet_bridge.translate.environment import Environment, references, resolve
from kubelet_bridge.translate.resources import vm_size
from tests.support.pods import CONFIG, config_map, container, inputs_of, pod, secret


def environment(of: Pod, inputs: Inputs | None = None) -> Environment:
    return resolve(of, of.spec.containers[0], inputs or Inputs(), vm_size(of, CONFIG))


def variables(*env: dict[str, Any], of: dict[str, Any] | None = None) -> dict[str, str]:
    """What ``env`` comes to, without errors."""
    found = environment(container(env=list(env), **(of or {})))
    assert found.missing == []
    return found.variables


def test_env_overrides_env_from_and_the_later_source_wins() -> None:
    inputs = Inputs({"one": config_map("one", A="1", B="1", C="1")}, {"two": secret("two", B="2", C="2")})
    asked = container(
        envFrom=[{"configMapRef": {"name": "one"}}, {"secretRef": {"name": "two"}}],
        env=[{"name": "C", "value": "3"}, {"name": "C", "value": "$(C)+$(B)"}],
    )
    assert environment(asked, inputs).variables == {"A": "1", "B": "2", "C": "3+2"}


def test_prefix_is_put_before_every_key() -> None:
    asked = container(envFrom=[{"prefix": "P_", "configMapRef": {"name": "one"}}])
    assert environment(asked, Inputs({"one": config_map("one", a="1")})).variables == {"P_a": "1"}


def test_values_from_elsewhere_are_not_expanded() -> None:
    taken = {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}
    asked = container(env=[{"name": "A", "value": "a"}, taken])
    assert environment(asked, Inputs({"m": config_map("m", k="$(A)")})).variables["B"] == "$(A)"


def test_an_optional_key_that_is_missing_leaves_what_was_there() -> None:
    asked = container(
        envFrom=[{"configMapRef": {"name": "m"}}],
        env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "no", "optional": True}}}],
    )
    found = environment(asked, Inputs({"m": config_map("m", A="kept")}))
    assert (found.variables, found.missing) == ({"A": "kept"}, [])
    assert [note.reason for note in found.notes] == ["OptionalConfigMapKeyNotFound"]


@pytest.mark.parametrize(
    ("path", "value"),
    [("metadata.name", "web"), ("metadata.namespace", "shop"), ("metadata.uid", "5b0d4b0e-7f4e-4a34-9a53-2d1f1f0c0001"),
     ("metadata.labels['app']", "shop"), ("metadata.labels['none']", ""), ("metadata.annotations['a/b[c]']", "d"),
     ("spec.nodeName", "kubelet-bridge"), ("spec.serviceAccountName", "robot")],
)  # fmt: skip
def test_field_references(path: str, value: str) -> None:
    asked = pod(
        {
            "serviceAccountName": "robot",
            "containers": [{"name": "app", "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": path}}}]}],
        },
        labels={"app": "shop"},
        annotations={"a/b[c]": "d"},
    )
    assert environment(asked).variables == {"A": value}


@pytest.mark.parametrize("path", ["status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs"])
def test_addresses_are_left_out_and_the_variable_is_named(path: str) -> None:
    found = environment(container(env=[{"name": "WHERE", "valueFrom": {"fieldRef": {"fieldPath": path}}}]))
    assert (found.variables, found.missing) == ({}, [])
    assert [(note.reason, "WHERE" in note.message) for note in found.notes] == [("EnvironmentVariableSkipped", True)]


@pytest.mark.parametrize("path", ["status.phase", "metadata.labels", "spec.nodeName['a']", "['a']", ""])
def test_other_fields_keep_the_container_from_starting(path: str) -> None:
    found = environment(container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": path}}}]))
    assert found.missing == [f"unsupported fieldPath: {path}"]


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [("requests.cpu", None, "1"), ("requests.cpu", "1m", "250"), ("limits.cpu", None, "2"),
     ("limits.memory", "1Mi", "512"), ("limits.memory", None, "536870912"),
     ("limits.ephemeral-storage", None, "0"), ("requests.memory", "1Gi", "0"),
     ("requests.hugepages-2Mi", None, "0")],
)  # fmt: skip
def test_resource_references_round_up(resource: str, divisor: str | None, value: str) -> None:
    ref = {"resource": resource, **({"divisor": divisor} if divisor else {})}
    sized = {"requests": {"cpu": "250m"}, "limits": {"cpu": "1500m", "memory": "512Mi"}}
    assert variables({"name": "A", "valueFrom": {"resourceFieldRef": ref}}, of={"resources": sized}) == {"A": value}


def test_a_limit_that_is_not_set_is_what_the_machine_has() -> None:
    refs = {name: {"resourceFieldRef": {"resource": f"limits.{name}"}} for name in ("cpu", "memory")}
    assert variables(*({"name": name, "valueFrom": ref} for name, ref in refs.items())) == {
        "cpu": "1",
        "memory": str(2**30),
    }


def test_unknown_resources_and_containers_are_errors() -> None:
    found = environment(container(env=[
        {"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.gpu"}}},
        {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "containerName": "other"}}},
    ]))  # fmt: skip
    assert found.missing == ["unsupported container resource : limits.gpu", "container other not found"]


def test_bytes_that_are_no_text_are_an_error() -> None:
    asked = container(envFrom=[{"secretRef": {"name": "s"}}])
    found = environment(asked, Inputs(secrets={"s": secret("s", A=b"\xff")}))
    assert found.missing == ["key A in Secret shop/s is not valid UTF-8"]
    assert "A" not in found.variables


SERVICES = [
    {"kind": "Service", "metadata": {"name": "kubernetes", "namespace": "default"},
     "spec": {"clusterIP": "10.0.0.1", "ports": [{"name": "https", "port": 443}]}},
    {"kind": "Service", "metadata": {"name": "my-db", "namespace": "shop"},
     "spec": {"clusterIP": "fd00::1", "ports": [{"port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 5353}]}},
    {"kind": "Service", "metadata": {"name": "elsewhere", "namespace": "other"},
     "spec": {"clusterIP": "10.0.0.2", "ports": [{"port": 1}]}},
    {"kind": "Service", "metadata": {"name": "headless", "namespace": "shop"},
     "spec": {"clusterIP": "None", "ports": [{"port": 1}]}},
]  # fmt: skip


def test_service_variables_are_the_kubelets() -> None:
    asked = container(env=[{"name": "MY_DB_PORT", "value": "mine"}, {"name": "URL", "value": "$(MY_DB_SERVICE_HOST)"}])
    found = environment(asked, inputs_of(SERVICES, asked)).variables
    assert found == {
        "MY_DB_PORT": "mine", "URL": "fd00::1",
        "KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443", "KUBERNETES_SERVICE_PORT_HTTPS": "443",
        "KUBERNETES_PORT": "tcp://10.0.0.1:443", "KUBERNETES_PORT_443_TCP": "tcp://10.0.0.1:443",
        "KUBERNETES_PORT_443_TCP_PROTO": "tcp", "KUBERNETES_PORT_443_TCP_PORT": "443",
        "KUBERNETES_PORT_443_TCP_ADDR": "10.0.0.1",
        "MY_DB_SERVICE_HOST": "fd00::1", "MY_DB_SERVICE_PORT": "53", "MY_DB_SERVICE_PORT_DNS_TCP": "5353",
        "MY_DB_PORT_53_UDP": "udp://[fd00::1]:53", "MY_DB_PORT_53_UDP_PROTO": "udp", "MY_DB_PORT_53_UDP_PORT": "53",
        "MY_DB_PORT_53_UDP_ADDR": "fd00::1", "MY_DB_PORT_5353_TCP": "tcp://[fd00::1]:5353",
        "MY_DB_PORT_5353_TCP_PROTO": "tcp", "MY_DB_PORT_5353_TCP_PORT": "5353", "MY_DB_PORT_5353_TCP_ADDR": "fd00::1",
    }  # fmt: skip


def test_without_service_links_only_the_api_server_is_named() -> None:
    asked = pod({"enableServiceLinks": False})
    found = environment(asked, inputs_of(SERVICES, asked)).variables
    assert {name.partition("_")[0] for name in found} == {"KUBERNETES"}


def test_references_name_what_has_to_be_read_and_nothing_that_is_a_path() -> None:
    asked = pod(
        {"containers": [{
            "name": "app",
            "envFrom": [{"configMapRef": {"name": "a"}}, {"secretRef": {"name": "../../kube-system/secrets/b"}}],
            "env": [
                {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c.d", "key": "k"}}},
                {"name": "D", "valueFrom": {"secretKeyRef": {"name": "e", "key": "k", "optional": True}}},
                {"name": "E", "valueFrom": {"secretKeyRef": {"name": "e?x=1", "key": "k"}}},
            ],
        }]},
        annotations={"kubelet-bridge.io/ssh-keys": " keys ,, more"},
    )  # fmt: skip
    assert references(asked) == ({"a", "c.d"}, {"e", "keys", "more"})
