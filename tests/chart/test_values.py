"""Values: what is wrong is refused before anything is installed, and everything is written down in the chart."""

import json
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubelet_bridge.cli.run import read_file
from kubelet_bridge.settings import Settings, merge
from tests.support.chart import CHART, Helm, pick

pytestmark = pytest.mark.helm

Json = dict[str, Any]


def test_lint(helm: Helm) -> None:
    done = helm.run("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"nodes": {}}, "additional properties 'nodes' not allowed"),
        ({"node": {"nmae": "x"}}, "additional properties 'nmae' not allowed"),
        ({"node": {"name": "Bad_Name"}}, "/node/name"),
        ({"node": {"taint": {"effect": "Never"}}}, "/node/taint/effect"),
        ({"node": {"labels": {"a": 1}}}, "/node/labels/a"),
        ({"node": {"capacity": {"cpu": "many"}}}, "/node/capacity/cpu"),
        ({"bridge": {"port": 80}}, "/bridge/port"),
        ({"bridge": {"port": "10250"}}, "/bridge/port"),
        ({"bridge": {"logLevel": "trace"}}, "/bridge/logLevel"),
        ({"bridge": {"settings": {"no_such": 1}}}, "'no_such' not allowed"),
        ({"bridge": {"settings": {"node_name": "x"}}}, "'node_name' not allowed"),
        ({"image": {"digest": "sha256:12"}}, "/image/digest"),
        ({"tls": {"approval": "yes"}}, "/tls/approval"),
        ({"rbac": {"namespaces": ["*"]}}, "/rbac/namespaces/0"),
        ({"persistence": {"size": "a lot"}}, "/persistence/size"),
        ({"persistence": {"accessModes": []}}, "/persistence/accessModes"),
        ({"guests": {"address": "somewhere"}}, "/guests/address"),
        ({"outageTolerations": {"by": "magic"}}, "/outageTolerations/by"),
        ({"serviceMonitor": {"paths": ["/vms"]}}, "/serviceMonitor/paths/0"),
        ({"resources": {"limit": {}}}, "'limit' not allowed"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name is needed"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_refused(helm: Helm, tmp_path: Path, values: Json, said: str) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    assert said in helm.refuses(file)


def _schema() -> Json:
    found: Json = json.loads((CHART / "values.schema.json").read_bytes())
    return found


def _by_name() -> Json:
    found: Json = _schema()["properties"]["bridge"]["properties"]["settings"]["properties"]
    return found


def _leaves(schema: Json, values: Any, path: str = "") -> typing.Iterator[str]:
    """Paths that only one of the two has."""
    properties = schema.get("properties")
    if properties is None or not isinstance(values, dict):
        return
    yield from (f"{path}.{name}" for name in properties.keys() ^ values.keys())
    for name in properties.keys() & values.keys():
        yield from _leaves(properties[name], values[name], f"{path}.{name}")


def test_every_value_has_a_default_that_is_written_down() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    settings = {
        f".bridge.settings.{name}" for name in _schema()["properties"]["bridge"]["properties"]["settings"]["properties"]
    }
    assert set(_leaves(_schema(), values)) - settings == {".global"}


def test_every_object_of_the_schema_is_closed() -> None:
    def open_objects(schema: Json, path: str) -> typing.Iterator[str]:
        if "properties" in schema:
            if schema.get("additionalProperties") is not False:
                yield path
            for name, one in schema["properties"].items():
                yield from open_objects(one, f"{path}.{name}")

    assert not list(open_objects(_schema(), ""))


def test_every_setting_is_either_a_value_or_allowed_by_its_name(helm: Helm, tmp_path: Path) -> None:
    everything = {
        "tls": {"secretName": "cert"}, "runtime": {"registriesConf": "x"}, "outageTolerations": {"by": "bridge"},
    }  # fmt: skip
    rendered = _config(helm, everything, tmp_path) | _config(helm, {"tls": {"approval": "automatic"}}, tmp_path)
    by_name = _by_name()
    assert not rendered.keys() & by_name.keys()
    apart = {"kubeconfig", "node_ip"}  # the Pod's own credentials; its address, from the environment
    assert rendered.keys() | by_name.keys() == set(typing.get_type_hints(Settings)) - apart


@pytest.mark.parametrize(
    "values",
    [
        {}, {"node": {"taint": {"enable": False}}}, {"guests": {"enabled": False}}, {"tls": {"secretName": "cert"}},
        {"bridge": {"settings": {"default_memory": "2Gi", "lease_seconds": 5}, "listenAddress": "[::]"}},
        {"images": {"catalogue": {"images": {}}, "readyMadeIn": ["one", "two"]}},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_the_daemon_takes_its_settings(helm: Helm, tmp_path: Path, values: Json) -> None:
    _config(helm, values, tmp_path)
    settings = merge(read_file(tmp_path / "config.yaml"), {}, {})
    assert settings.namespace == "kubelet-bridge"


def _config(helm: Helm, values: Json, directory: Path) -> Json:
    text = pick(helm.render(values, directory=directory), "ConfigMap")["data"]["config.yaml"]
    (directory / "config.yaml").write_text(text)
    found: Json = yaml.safe_load(text)
    return found
