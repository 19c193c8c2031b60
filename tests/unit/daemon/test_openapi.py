"""``docs/openapi.yaml`` against the server: every path and method of either, and real answers."""

import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from kubelet_bridge.daemon.vmreader import StoredVms
from kubelet_bridge.kubelet_api.attributes import attributes
from kubelet_bridge.kubelet_api.vms import answers
from kubelet_bridge.kubelet_api.vms.routes import routes
from tests.support.declaredroutes import declared
from tests.support.kubelet_endpoint import FULL, Serving
from tests.support.vms import View, fill, guest_of, unreachable

FILE = Path(__file__).parents[3] / "docs" / "openapi.yaml"
METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return found


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (path, method): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


async def test_the_server_and_the_file_have_the_same_paths(document: dict[str, Any], tmp_path: Path) -> None:
    served = {(one.path.rstrip("/"), one.method.lower()) for one in declared(tmp_path)}
    all_methods = {path for path, method in served if method == "*"}
    served = {(path, "get" if path in all_methods else method) for path, method in served}
    assert set(operations(document)) == served


def test_the_rights_it_names_are_those_that_are_asked_for(document: dict[str, Any]) -> None:
    for (path, method), operation in operations(document).items():
        wanted = attributes(method.upper(), path)
        named = " or ".join(f"nodes/{one.subresource}" for one in wanted)
        assert operation["x-authorization"] == f"{wanted[0].verb} {named}", path


def test_parameters_are_those_of_the_path(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        named = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        assert {one["name"] for one in item.get("parameters", []) if one["in"] == "path"} == named


def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    ids = [one["operationId"] for one in operations(document).values() if "operationId" in one]
    assert len(ids) == len(set(ids)) > 0


@pytest.mark.parametrize(
    "kind",
    [
        answers.Vm, answers.VmDetail, answers.VmList, answers.Boot, answers.Cluster, answers.Change, answers.History,
        answers.VmAction, answers.Actions, answers.OperatingSystem, answers.Filesystem, answers.GuestInfo,
    ],
)  # fmt: skip
def test_schemas_have_the_fields_of_the_answers(document: dict[str, Any], kind: type[msgspec.Struct]) -> None:
    schema = document["components"]["schemas"][kind.__name__]
    fields = {one.encode_name for one in msgspec.structs.fields(kind)}
    assert set(schema["properties"]) == fields
    assert set(schema["required"]) == fields - {"stale_since"}


def strict(document: dict[str, Any], path: str) -> dict[str, Any]:
    """The schema of an answer, in which what is not described may not be."""
    schemas = copy.deepcopy(document["components"]["schemas"])
    for schema in schemas.values():
        schema["additionalProperties"] = False
    content = document["paths"][path]["get"]["responses"]["200"]["content"]
    return {**content["application/json"]["schema"], "components": {"schemas": schemas}}


@pytest.mark.parametrize("stale", [None, datetime(2026, 3, 4, tzinfo=UTC)])
async def test_answers_are_what_it_says(
    serving: Serving, document: dict[str, Any], tmp_path: Path, stale: datetime | None
) -> None:
    await fill(tmp_path)
    view = View(stale_since=stale)
    view.add_vm("web-1", "vm-1", vmi="vmi-2")
    reader = StoredVms(tmp_path, view, guest_of)  # type: ignore[arg-type]
    checked = 0
    async with serving(only=routes(reader, console=unreachable, screen=unreachable)) as world:
        for path, item in document["paths"].items():
            if "application/json" not in str(item.get("get", {}).get("responses", {})):
                continue
            for vm in ("uid-1", "uid-2", "uid-4"):
                for query in ("", "?destroyed=true&limit=1"):
                    url = path.format(id=vm, namespace="default", name="web-1") + query
                    status, body = await world.get(url, token=FULL)
                    if status == 404 and "no agent has come" in body:
                        continue
                    assert status == 200, url
                    answer = msgspec.json.decode(body)
                    checker = jsonschema.Draft202012Validator(
                        strict(document, path), format_checker=jsonschema.FormatChecker()
                    )
                    checker.validate(answer)
                    assert ("stale_since" in answer) == (stale is not None)
                    checked += 1
    assert checked >= 20
