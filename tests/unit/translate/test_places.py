from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from kubelet_bridge.model.intent import Hosting, Intent
from kubelet_bridge.model.meta import machine_uid
from kubelet_bridge.translate.places import place, place_of_port
from tests.support.pods import UID, pod

SPEC: dict[str, Any] = {
    "initContainers": [{"name": "setup", "image": "a"}],
    "containers": [
        {"name": "app", "image": "a", "ports": [{"containerPort": 80}]},
        {"name": "side", "image": "b", "ports": [{"containerPort": 9000}]},
    ],
    "ephemeralContainers": [
        {"name": "look", "image": "c", "targetContainerName": "side"}, {"name": "free", "image": "c"},
    ],
}  # fmt: skip


def row(uid: str, **more: Any) -> Intent:
    return Intent(
        uid=uid, id=f"dpl_{uid[:8]}", namespace="shop", name="web", accepted_at=datetime(2026, 1, 1, tzinfo=UTC), **more
    )


def rows(*intents: Intent) -> Any:
    return {one.uid: one for one in intents}.get


def addressed(spec: dict[str, Any]) -> Any:
    made = pod(spec)
    return msgspec.structs.replace(made, status=msgspec.structs.replace(made.status, pod_ip="10.0.0.9"))


@pytest.mark.parametrize("name", ["setup", "app", "side", "look", "free"])
def test_an_agent_knows_containers_by_their_names(name: str) -> None:
    found = place(addressed(SPEC), name, rows(row(UID, vm_name="web", hosting=Hosting.OCI)))
    assert found is not None
    assert (found.uid, found.inside, found.vm, found.address) == (UID, name, "web", "10.0.0.9")
    assert found.spec.name == name


def test_a_machine_without_commands_is_its_container() -> None:
    one = addressed({"ephemeralContainers": [{"name": "look", "image": "c", "targetContainerName": "app"}]})
    intents = rows(row(UID, vm_name="web", hosting=Hosting.MACHINE))
    machine, debugger = place(one, "app", intents), place(one, "look", intents)
    assert machine is not None
    assert machine.inside == ""
    assert debugger is not None
    assert debugger.inside == "look"


def test_no_such_container() -> None:
    assert place(pod(SPEC), "nobody", rows()) is None


def test_before_there_is_a_promise_there_is_no_machine() -> None:
    found = place(pod(SPEC), "app", rows())
    assert found is not None
    assert (found.uid, found.vm, found.address) == (UID, "", "")


def test_with_a_machine_for_each_container_each_is_found_in_its_own() -> None:
    side, app = machine_uid(UID, "side"), machine_uid(UID, "app")
    intents = rows(
        row(UID, machines=True), row(side, vm_name="web-side", hosting=Hosting.OCI),
        row(app, vm_name="web-app", hosting=Hosting.MACHINE),
    )  # fmt: skip
    one = addressed(SPEC)
    places = {name: place(one, name, intents) for name in ("app", "side", "look", "free", "setup")}
    assert all(places.values())
    assert {name: found and (found.uid, found.vm, found.inside, found.address) for name, found in places.items()} == {
        "app": (app, "web-app", "", "10.0.0.9"),
        "side": (side, "web-side", "side", ""),
        "look": (side, "web-side", "look", ""),
        "free": (app, "web-app", "free", "10.0.0.9"),
        "setup": (machine_uid(UID, "setup"), "", "setup", ""),
    }  # fmt: skip


@pytest.mark.parametrize(("port", "container"), [(80, "app"), (9000, "side"), (1234, "app")])
def test_a_port_is_in_the_machine_of_the_container_that_declares_it(port: int, container: str) -> None:
    intents = rows(
        row(UID, machines=True),
        *(row(machine_uid(UID, name), vm_name=f"web-{name}", hosting=Hosting.OCI) for name in ("app", "side")),
    )
    assert place_of_port(addressed(SPEC), port, intents).vm == f"web-{container}"
