"""The log of a machine's serial console: from which launcher, with what options, and what is said without one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kubelet_bridge.daemon.consolelogs import ConsoleLogs
from kubelet_bridge.errors import ApiUnavailable
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.credentials import Credentials
from kubelet_bridge.kubelet_api.logs.options import LogOptions
from kubelet_bridge.kubelet_api.logs.refused import LogsRefused
from kubelet_bridge.kubelet_api.logs.selection import Run
from kubelet_bridge.kubelet_api.ports import ContainerRef
from kubelet_bridge.model.kubevirt import Launcher, VirtualMachineInstance
from tests.support.pods import UID, pod

REF = ContainerRef("shop", "web", "app")


def launcher(name: str, vmi: str, *, node: str = "n1", made: str = "2026-01-01T00:00:00Z") -> Launcher:
    return msgspec.convert(
        {
            "metadata": {
                "name": name, "uid": name, "creationTimestamp": made,
                "ownerReferences": [{"kind": "VirtualMachineInstance", "uid": vmi}],
            },
            "spec": {"nodeName": node},
        },
        Launcher,
    )  # fmt: skip


LAUNCHERS = [
    launcher("former", "boot-0"),
    launcher("source", "boot-1", node="n1"),
    launcher("target", "boot-1", node="n2", made="2026-01-02T00:00:00Z"),
]


class Api:
    """An API server's pods/log."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.refusal: web.Response | None = None

    async def log(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.match_info["pod"], dict(request.query)))
        if self.refusal is not None:
            return self.refusal
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        await response.write(b"booting\n")
        await response.write(b"login:")
        return response


@asynccontextmanager
async def consoles(api: Api, node: str = "n1") -> AsyncIterator[ConsoleLogs]:
    app = web.Application()
    app.add_routes([web.get("/api/v1/namespaces/shop/pods/{pod}/log", api.log)])

    async def nothing() -> None:
        return None

    def instance(pod_uid: str, uid: str) -> VirtualMachineInstance | None:
        assert pod_uid == UID
        status = {"nodeName": node, "activePods": {"source": "n1", "target": "n2"}}
        return msgspec.convert({"metadata": {"uid": uid}, "status": status}, VirtualMachineInstance)

    async with TestServer(app) as server:
        credentials = Credentials(f"http://127.0.0.1:{server.port}", None, nothing)
        async with Client(credentials) as client:
            yield ConsoleLogs(client, lambda uid: LAUNCHERS if uid == UID else [], instance)


async def read(console: ConsoleLogs, identifier: str, **options: Any) -> bytes:
    async with console.open(pod(), REF, Run(identifier, (0,)), LogOptions(**options)) as log:
        return b"".join([piece async for piece in log])


@pytest.mark.parametrize(("node", "wanted"), [("n1", "source"), ("n2", "target")])
async def test_the_launcher_where_the_machine_is_with_all_options(node: str, wanted: str) -> None:
    api = Api()
    async with consoles(api, node) as console:
        found = await read(console, "kubevirt://boot-1", follow=True, tail_lines=3, timestamps=True, limit_bytes=9)
    assert found == b"booting\nlogin:"
    options = {"follow": "true", "tailLines": "3", "timestamps": "true", "limitBytes": "9"}
    assert api.asked == [(wanted, {"container": "guest-console-log", **options})]


async def test_the_boot_before_is_another_launchers() -> None:
    api = Api()
    async with consoles(api) as console:
        await read(console, "kubevirt://boot-0", previous=True)
        assert api.asked == [("former", {"container": "guest-console-log"})]
        with pytest.raises(LogsRefused) as refused:
            await read(console, "kubevirt://boot-9", previous=True)
    words = "unable to retrieve container logs for kubevirt://boot-9"
    assert (refused.value.status, refused.value.message) == (400, words)


async def test_what_the_api_server_says_is_passed_on() -> None:
    api = Api()
    async with consoles(api) as console:
        status = {"kind": "Status", "reason": "BadRequest", "message": "container guest-console-log is not valid"}
        api.refusal = web.json_response(status, status=400)
        with pytest.raises(LogsRefused, match=r'"app" in pod "web".*guest-console-log is not valid') as refused:
            await read(console, "kubevirt://boot-1")
        assert refused.value.status == 400
        api.refusal = web.Response(status=503, text="away")
        with pytest.raises(ApiUnavailable):
            await read(console, "kubevirt://boot-1")
