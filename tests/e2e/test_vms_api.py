"""``/vms`` through the API server: what ``kubectl get --raw`` shows of a real VM; its console and its screen."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import jsonschema
import msgspec
import pytest
import yaml

from kubelet_bridge.kube import credentials
from kubelet_bridge.model.resources import PODS
from tests.support.bridge import Bridge, World, eventually
from tests.support.devhost import LABEL, Site
from tests.support.guestpods import shell
from tests.support.kubectl import Kubectl
from tests.unit.daemon.test_openapi import FILE, strict
from tests.unit.devcluster.test_devhost_process import allowed

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not allowed, reason="this machine does not let us make namespaces"),
    pytest.mark.skipif(not shutil.which("busybox"), reason="not installed: busybox-static, which containers run here"),
]

SECONDS = 120.0


@pytest.fixture
async def one(site: Site, world: World, bridge: Bridge) -> AsyncIterator[str]:
    """A Pod whose VM runs with its agent; the path of the node's proxy."""
    async with site.host(mode="process"):
        await bridge.start()
        spec = {"nodeName": bridge.node, "nodeSelector": {LABEL: "true"}}
        container = shell("main", "while :; do sleep 1; done", image="containerdisk://example.test/os:1")
        await world.create(PODS, world.pod("one", container=container, **spec))
        await world.ready("one", seconds=SECONDS)
        yield f"/api/v1/nodes/{bridge.node}/proxy"
        await world.client.delete(PODS, world.namespace, "one")

        async def gone() -> bool:
            return not await world.pods()

        await eventually(gone, "the Pod is gone", seconds=SECONDS)


async def test_a_vm_is_found_shown_and_told_about(one: str, world: World, kubectl: Kubectl) -> None:
    document = yaml.safe_load(FILE.read_text())

    async def get(path: str, described: str) -> Any:
        found = msgspec.json.decode(await kubectl("get", "--raw", one + path))
        jsonschema.Draft202012Validator(strict(document, described)).validate(found)
        return found

    listed = await get(f"/vms?namespace={world.namespace}", "/vms")
    (vm,) = listed["items"]
    assert (vm["name"], vm["status"], vm["hosting"]) == ("one", "running", "system")
    shown = await get(f"/vms/{vm['id']}", "/vms/{id}")
    assert shown["uid"] == vm["uid"]
    assert shown["cluster"]["phase"] == "Running"
    assert shown["boots"][0]["exit_code"] is None
    named = f"/vms/by-name/{world.namespace}/one"
    history = await get(f"{named}/history", "/vms/{id}/history")
    assert [change["to_status"] for change in history["items"]] == ["provisioning", "running"]
    assert (await get(f"{named}/actions", "/vms/{id}/actions"))["items"] == []
    guest = await get(f"{named}/guest", "/vms/{id}/guest")
    assert (guest["connected"], guest["os"]["machine"]) == (True, "x86_64")
    code, _, error = await kubectl.run("get", "--raw", f"{one}/vms/dpl_nothing")
    assert (code, "NotFound" in error) == (1, True)


@asynccontextmanager
async def opened(bridge: Bridge, path: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    admin = await credentials.load(bridge.cluster.layout.kubeconfig("admin"))
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(
            admin.base_url + path, protocols=("plain.kubevirt.io",), ssl=admin.tls or True, max_msg_size=0
        ) as socket,
    ):
        yield socket


async def test_its_screen_is_reached_and_says_who_it_is(one: str, world: World, bridge: Bridge) -> None:
    async with opened(bridge, f"{one}/vms/by-name/{world.namespace}/one/vnc") as socket:
        said = b""
        while len(said) < 12:
            said += await socket.receive_bytes()
        assert said.startswith(b"RFB 003.")
        await socket.send_bytes(said[:12])
        assert await socket.receive_bytes()

    async def noted() -> list[str]:
        text = await asyncio.to_thread(bridge.log.read_text)
        return [line for line in text.splitlines() if "what=vnc" in line and "stage=end" in line]

    (line,) = await eventually(noted, "the audit line")
    assert f"subject={world.namespace}/one" in line
    assert "user=kube-apiserver-kubelet-client" in line
    assert "received_bytes=12" in line


async def test_its_console_is_shared(one: str, world: World, bridge: Bridge) -> None:
    """KubeVirt lets in one at a time; here the second comes beside the first."""
    path = f"{one}/vms/by-name/{world.namespace}/one/console"
    async with opened(bridge, path) as first, opened(bridge, path) as second:
        for socket in (first, second):
            await socket.send_bytes(b"\n")
        assert not first.closed
        assert not second.closed
