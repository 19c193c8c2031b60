"""``/vms`` as a client meets it, from a store on disk."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from kubelet_bridge.daemon.vmreader import StoredVms
from kubelet_bridge.kubelet_api.vms.routes import routes
from tests.support.intents import later
from tests.support.kubelet_endpoint import FULL, Serving, World
from tests.support.vms import View, fill, guest_of, unreachable


@pytest.fixture
def view() -> View:
    return View()


@pytest.fixture
async def declared(tmp_path: Path, view: View) -> list[web.RouteDef]:
    await fill(tmp_path)
    reader = StoredVms(tmp_path, view, guest_of)  # type: ignore[arg-type]
    return routes(reader, console=unreachable, screen=unreachable)


async def asked(world: World, path: str) -> Any:
    status, body = await world.get(path, token=FULL)
    assert status == 200, body
    return msgspec.json.decode(body)


def names(found: Any) -> list[tuple[str, str]]:
    return [(one["name"], one["container"]) for one in found["items"]]


async def test_the_living_are_listed_and_the_gone_when_asked_for(
    serving: Serving, declared: list[web.RouteDef]
) -> None:
    async with serving(only=declared) as world:
        found = await asked(world, "/vms")
        assert names(found) == [("web-1", ""), ("web-3", ""), ("web-3", "app"), ("web-3", "sidecar")]
        assert (found["continue"], "stale_since" in found) == ("", False)
        assert names(await asked(world, "/vms?destroyed=true"))[1] == ("web-2", "")
        assert names(await asked(world, "/vms?name=web-1")) == [("web-1", "")]
        assert names(await asked(world, "/vms?namespace=elsewhere")) == []
        assert await world.get("/vms?limit=none", token=FULL) == (
            400, "limit: 'none' is not a number from 1 to 1000\n",
        )  # fmt: skip


async def test_pages_together_are_the_list(serving: Serving, declared: list[web.RouteDef]) -> None:
    async with serving(only=declared) as world:
        whole = names(await asked(world, "/vms?destroyed=1"))
        for limit in range(1, 6):
            found, token = [], ""
            while True:
                page = await asked(world, f"/vms?destroyed=1&limit={limit}&continue={token}")
                assert len(page["items"]) <= limit
                found += names(page)
                token = page["continue"]
                if not token:
                    break
            assert found == whole


@pytest.mark.parametrize("path", ["/vms/dpl_00000001", "/vms/uid-1", "/vms/by-name/default/web-1", "/vms/uid-1/"])
async def test_one_is_shown_by_any_of_its_names(
    serving: Serving, declared: list[web.RouteDef], view: View, path: str
) -> None:
    view.add_vm("web-1", "vm-1", vmi="vmi-2")
    async with serving(only=declared) as world:
        found = await asked(world, path)
    assert found["id"] == "dpl_00000001"
    assert (found["mac"], found["ports"], found["disk"], found["hosting"]) == (
        "02:00:00:00:00:01",
        [80],
        5 << 30,
        "oci",
    )
    assert [(one["vmi_uid"], one["exit_code"]) for one in found["boots"]] == [("vmi-1", 137), ("vmi-2", None)]
    assert found["cluster"] == {
        "printable_status": "Running", "phase": "Running", "host_node": "host-1", "addresses": ["10.0.2.2"],
    }  # fmt: skip


async def test_another_vm_of_the_same_name_is_not_taken_for_it(
    serving: Serving, declared: list[web.RouteDef], view: View
) -> None:
    async with serving(only=declared) as world:
        assert (await asked(world, "/vms/uid-1"))["cluster"] is None
        view.add_vm("web-1", "somebody's", vmi="vmi-2")
        assert (await asked(world, "/vms/uid-1"))["cluster"] is None
        view.add_vm("web-1", "vm-1", vmi="a boot we have not noticed yet")
        assert (await asked(world, "/vms/uid-1"))["cluster"]["phase"] == ""


async def test_a_pod_with_several_vms_is_found_by_its_name_and_they_by_theirs(
    serving: Serving, declared: list[web.RouteDef]
) -> None:
    async with serving(only=declared) as world:
        assert (await asked(world, "/vms/by-name/default/web-3"))["uid"] == "uid-3"
        machine = await asked(world, "/vms/uid-4")
        assert (machine["container"], machine["pod_uid"]) == ("app", "uid-3")


async def test_history_and_actions(serving: Serving, declared: list[web.RouteDef]) -> None:
    async with serving(only=declared) as world:
        history = (await asked(world, "/vms/uid-1/history"))["items"]
        assert [(one["from_status"], one["to_status"], one["reason"]) for one in history] == [
            ("", "provisioning", "Accepted"), ("provisioning", "running", "Observed"),
        ]  # fmt: skip
        assert (await asked(world, "/vms/uid-2/history"))["items"][-1]["to_status"] == "destroyed"
        (action,) = (await asked(world, "/vms/uid-1/actions"))["items"]
        assert (action["nonce"], action["action"], action["state"]) == ("n1", "reboot", "pending")


async def test_what_the_agent_has_told(serving: Serving, declared: list[web.RouteDef]) -> None:
    async with serving(only=declared) as world:
        found = await asked(world, "/vms/by-name/default/web-1/guest")
        assert (found["connected"], found["os"]["pretty_name"], found["users"]) == (True, "Debian 12", ["alice"])
        assert found["filesystems"] == [
            {"device": "/dev/vda1", "mount_point": "/", "type": "ext4", "total": 100, "used": 40}
        ]
        for vm in ("uid-3", "uid-4"):
            assert await world.get(f"/vms/{vm}/guest", token=FULL) == (
                404, f"no agent has come from the guest of '{vm}'\n",
            )  # fmt: skip


@pytest.mark.parametrize("part", ["", "/history", "/actions", "/guest", "/console", "/vnc"])
async def test_nothing_of_what_is_not_there(serving: Serving, declared: list[web.RouteDef], part: str) -> None:
    async with serving(only=declared) as world:
        for path in ("/vms/dpl_00000000", "/vms/by-name/default/nothing", "/vms/by-name/default/%27%20OR%201=1%20--"):
            status, text = await world.get(path + part, token=FULL)
            assert (status, text.startswith("no intent ")) == (404, True)
        assert (await world.get("/vms/by-name/web-1", token=FULL))[0] == 404
        assert (await world.get("/vms/uid-1/secrets", token=FULL)) == (404, "404 page not found\n")


async def test_answers_say_since_when_the_cluster_cannot_be_seen(
    serving: Serving, declared: list[web.RouteDef], view: View
) -> None:
    view.stale_since = later(60)
    async with serving(only=declared) as world:
        for path in ("/vms", "/vms/uid-1", "/vms/uid-1/history", "/vms/uid-1/actions", "/vms/uid-1/guest"):
            assert (await asked(world, path))["stale_since"] == "2026-03-04T05:07:07Z"


async def test_an_unreadable_store_is_said_and_not_taken_for_an_empty_one(serving: Serving, tmp_path: Path) -> None:
    reader = StoredVms(tmp_path / "nothing", View(), guest_of)  # type: ignore[arg-type]
    async with serving(only=routes(reader, console=unreachable, screen=unreachable)) as world:
        for path in ("/vms", "/vms/uid-1"):
            status, text = await world.get(path, token=FULL)
            assert (status, text.startswith("no intent store in ")) == (500, True)
