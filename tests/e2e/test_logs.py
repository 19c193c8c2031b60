"""``kubectl logs`` as users type it, through the real API server, of containers that real agents run."""

import asyncio
import contextlib
import re
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from kubelet_bridge.model.resources import NODES, PODS
from tests.e2e.test_process_pods import SECONDS, pod, until, wire
from tests.support.authority import Authority
from tests.support.bridge import Bridge, World
from tests.support.devhost import LABEL, NODE, Site
from tests.support.guestpods import COUNT, named, shell, wait_for
from tests.support.keptlogs import counted
from tests.support.kubectl import Kubectl
from tests.support.post import post_office
from tests.support.proxy import proxy
from tests.support.relay import Relay
from tests.unit.devcluster.test_devhost_process import allowed

__all__ = ["wire"]

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not allowed, reason="this machine does not let us make namespaces"),
    pytest.mark.skipif(not shutil.which("busybox"), reason="not installed: busybox-static, which containers run here"),
]

FOREVER = "while :; do sleep 0.2; done"
THREE = "one\ntwo\nthree\n"
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ")


class Followed:
    """A ``kubectl logs -f`` that runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().rstrip("\n")

    async def rest(self) -> list[str]:
        """Until it ends by itself, well."""
        assert self._process.stdout is not None
        text = (await self._process.stdout.read()).decode()
        assert await self._process.wait() == 0
        return text.splitlines()


@asynccontextmanager
async def follow(kubectl: Kubectl, *arguments: str) -> AsyncIterator[Followed]:
    process = await asyncio.create_subprocess_exec(
        *kubectl.argv("logs", "-f", *arguments), env=kubectl.env, stdout=asyncio.subprocess.PIPE, limit=2**20
    )
    try:
        yield Followed(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def refused(kubectl: Kubectl, *arguments: str) -> str:
    code, out, err = await kubectl.run("logs", *arguments)
    assert (code, out) == (1, "")
    return err


async def create(world: World, containers: list[dict[str, Any]], **spec: Any) -> dict[str, Any]:
    return await world.create(PODS, pod(world, {"containers": containers, **spec}))


def run(name: str) -> Any:
    return lambda found: "running" in named(found, name).get("state", {})


async def test_every_option(wire: Relay, world: World, bridge: Bridge, kubectl: Kubectl) -> None:
    crash = "echo x >>/shared/lives; echo life $(wc -l </shared/lives); exit 3"
    long = "head -c 40000 /dev/zero | tr '\\0' x; echo; echo err >&2"
    await create(
        world,
        [
            shell("three", f"echo one; sleep 2.1; echo two; echo three; {FOREVER}"),
            shell("crash", crash, volumeMounts=[{"name": "shared", "mountPath": "/shared"}]),
            shell("long", f"{long}; {FOREVER}"),
        ],
        initContainers=[shell("first", "echo initialised")], volumes=[{"name": "shared", "emptyDir": {}}],
    )  # fmt: skip
    await until(world, lambda found: named(found, "crash").get("restartCount", 0) >= 1, "a restart")
    three = ("one", "-c", "three")
    async with follow(kubectl, *three) as followed:
        assert [await followed.line() for _ in range(3)] == THREE.split()
    assert await kubectl("logs", *three) == THREE
    assert await kubectl("logs", *three, "--tail=2") == "two\nthree\n"
    assert await kubectl("logs", *three, "--tail=0") == ""
    assert await kubectl("logs", *three, "--limit-bytes=6") == "one\ntw"
    assert await kubectl("logs", *three, "--since=1h") == THREE
    stamped = (await kubectl("logs", *three, "--timestamps")).splitlines()
    assert [STAMP.sub("", line, count=1) for line in stamped] == THREE.split()
    # client-go sends whole seconds
    assert await kubectl("logs", *three, f"--since-time={stamped[1].split()[0]}") == "two\nthree\n"
    assert await kubectl("logs", "one", "-c", "first") == "initialised\n"
    assert await kubectl("logs", "one", "-c", "long") == "x" * 40000 + "\nerr\n"

    found = await until(world, _crashed_again, "crash waiting to be started again")
    life = named(found, "crash")["restartCount"] + 1
    assert await kubectl("logs", "one", "-c", "crash") == f"life {life}\n"
    assert await kubectl("logs", "one", "-c", "crash", "-p") == f"life {life}\n"

    every = await kubectl("logs", "one", "--all-containers", "--prefix", "--max-log-requests=10")
    for container, line in (("first", "initialised"), ("three", "two"), ("long", "err")):
        assert f"[pod/one/{container}] {line}\n" in every
    assert await kubectl("logs", "-l", "app=one", "-c", "three", "--tail=-1") == THREE

    none = 'previous terminated container "three" in pod "one" not found'
    assert none in await refused(kubectl, *three, "-p")
    assert "nobody" in await refused(kubectl, "one", "-c", "nobody")


def _crashed_again(found: dict[str, Any]) -> bool:
    crash = named(found, "crash")
    return crash["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff" and crash["restartCount"] >= 1


async def test_what_waits_to_be_started_says_so(wire: Relay, world: World, bridge: Bridge, kubectl: Kubectl) -> None:
    await create(world, [shell("main", FOREVER)], initContainers=[shell("first", f"echo here; {FOREVER}")])
    await until(world, run("first"), "first running")
    words = 'container "main" in pod "one" is waiting to start: PodInitializing'
    assert words in await refused(kubectl, "one", "-c", "main")
    async with follow(kubectl, "one", "-c", "first") as followed:
        assert await followed.line() == "here"


async def test_following_until_the_end(wire: Relay, world: World, bridge: Bridge, kubectl: Kubectl) -> None:
    async with post_office(bridge.cluster.state.node_address) as post:
        script = f"seq 1 5; {wait_for(post.url, 'end')}; seq 6 60000"
        await create(world, [shell("main", script)], restartPolicy="Never")
        await until(world, run("main"), "main running")
        async with follow(kubectl, "one") as followed:
            assert [await followed.line() for _ in range(5)] == list("12345")
            wire.cut()  # the guest is away for a while
            await asyncio.sleep(1)
            post.allow("end")
            await asyncio.sleep(1)
            wire.mend()
            assert await followed.rest() == [str(number) for number in range(6, 60001)]
    every = "".join(f"{number}\n" for number in range(1, 60001))
    await world.phase("one", "Succeeded", seconds=SECONDS)
    assert await kubectl("logs", "one") == every
    await bridge.kill()
    await bridge.start()
    assert await kubectl("logs", "one") == every
    await world.client.delete(PODS, world.namespace, "one")
    await world.gone(PODS, "one", seconds=SECONDS)
    assert "not found" in await refused(kubectl, "one")


async def test_a_bridge_that_is_killed_keeps_what_there_was(
    wire: Relay, world: World, bridge: Bridge, kubectl: Kubectl
) -> None:
    await create(world, [shell("count", COUNT)])
    await until(world, run("count"), "count running")
    async with follow(kubectl, "one") as followed:
        assert [await followed.line() for _ in range(4)] == ["began", "1", "2", "3"]
        await bridge.kill()
    await asyncio.sleep(1)
    await bridge.start()
    async with follow(kubectl, "one") as followed:
        lines = [await followed.line() for _ in range(40)]
    assert counted(lines) == 39
    assert counted((await kubectl("logs", "one")).splitlines()) >= 39


async def test_a_machine_for_each_container(wire: Relay, world: World, bridge: Bridge, kubectl: Kubectl) -> None:
    body = pod(world, {
        "containers": [shell("left", f"echo left; {FOREVER}"), shell("right", f"echo right; {FOREVER}")],
        "initContainers": [shell("first", "echo first")],
    })  # fmt: skip
    body["metadata"]["annotations"] = {"kubelet-bridge.io/containers": "vm-per-container"}
    await world.create(PODS, body)
    await until(world, lambda found: run("left")(found) and run("right")(found), "both running")
    for container in ("first", "left", "right"):
        async with follow(kubectl, "one", "-c", container) as followed:
            assert await followed.line() == container


class Direct:
    """Requests to the bridge itself, as the API server makes them."""

    def __init__(self, bridge: Bridge, http: aiohttp.ClientSession) -> None:
        self._url, self._http = f"https://{bridge.cluster.state.node_address}:{bridge.port}", http

    def logs(self, world: World, container: str, query: str = "") -> Any:
        path = f"/containerLogs/{world.namespace}/one/{container}{query}"
        return self._http.get(self._url + path, timeout=aiohttp.ClientTimeout(total=None))


@asynccontextmanager
async def direct(bridge: Bridge) -> AsyncIterator[Direct]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    layout, name = bridge.cluster.layout, "apiserver-kubelet-client"
    await asyncio.to_thread(context.load_cert_chain, layout.certificate(name), layout.key(name))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http:
        yield Direct(bridge, http)


async def test_logs_flow_while_the_api_server_is_away(
    wire: Relay, world: World, bridge: Bridge, tmp_path: Path
) -> None:
    await bridge.stop()
    before = bridge.kubeconfig
    async with proxy(bridge.kubeconfig, tmp_path) as (network, kubeconfig), direct(bridge) as client:
        bridge.kubeconfig = kubeconfig
        await bridge.start()
        async with post_office(bridge.cluster.state.node_address) as post:
            brief = shell("brief", f"echo here; {wait_for(post.url, 'end')}; echo over")
            await create(world, [shell("count", COUNT), brief], restartPolicy="Never")
            await until(world, lambda found: run("count")(found) and run("brief")(found), "both running")
            async with client.logs(world, "brief", "?follow=true") as response:
                assert await response.content.readline() == b"here\n"
                network.down = True
                network.cut()
                async with client.logs(world, "count", "?follow=true") as counting:  # a request that is new
                    assert counting.status == 200
                    assert await counting.content.readline() == b"began\n"
                    for number in range(1, 40):
                        assert await counting.content.readline() == b"%d\n" % number
                post.allow("end")  # nobody but the bridge hears of its end
                assert await response.content.read() == b"over\n"
        network.down = False
        await bridge.kill()
    bridge.kubeconfig = before
    await bridge.start()


@asynccontextmanager
async def kubelet_of(site: Site, directory: Path) -> AsyncIterator[list[tuple[str, dict[str, str]]]]:
    """The kubelet's port of the host on which launchers run: it says what their consoles' logs were asked for."""
    asked: list[tuple[str, dict[str, str]]] = []

    async def log(request: web.Request) -> web.StreamResponse:
        asked.append((request.match_info["pod"], dict(request.query)))
        return web.Response(text="booting\nlogin:")

    node = await site.get(NODES, NODE)
    assert node is not None
    status = node["status"]
    app = web.Application()
    app.router.add_get("/containerLogs/{namespace}/{pod}/guest-console-log", log)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate, key = await asyncio.to_thread(Authority().serving, directory)
    await asyncio.to_thread(context.load_cert_chain, certificate, key)
    address, port = status["addresses"][0]["address"], status["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    await web.TCPSite(runner, address, port, ssl_context=context).start()
    try:
        yield asked
    finally:
        await runner.cleanup()


async def test_a_machine_that_is_the_container_has_its_console(
    site: Site, world: World, bridge: Bridge, kubectl: Kubectl, tmp_path: Path
) -> None:
    async with site.host(), kubelet_of(site, tmp_path) as asked:
        await bridge.start()
        await world.create(PODS, world.pod("one", nodeName=bridge.node, nodeSelector={LABEL: "true"}))
        await world.ready("one")
        launcher = (await world.find(PODS, label_selector="kubevirt.io=virt-launcher"))[0]["metadata"]["name"]
        assert await kubectl("logs", "one", "--tail=2", "--timestamps", "-f") == "booting\nlogin:"
        assert asked == [(launcher, {"tailLines": "2", "timestamps": "true", "follow": "true"})]
        assert 'previous terminated container "vm"' in await refused(kubectl, "one", "-p")
        await world.client.delete(PODS, world.namespace, "one")
        await world.gone(PODS, "one")


async def test_a_flood_beside_a_quiet_pod(
    wire: Relay, site: Site, world: World, bridge: Bridge, kubectl: Kubectl
) -> None:
    """The quiet one's lines come whole and in order while two read what the other floods its log with."""
    flood = pod(world, {"containers": [shell("flood", "while :; do head -c 65536 /dev/zero | tr '\\0' x; echo; done")]})
    flood["metadata"]["name"] = "flood"
    await world.create(PODS, flood)
    await create(world, [shell("count", COUNT)])
    await until(world, run("count"), "count running")
    async with follow(kubectl, "flood") as first, follow(kubectl, "flood", "--tail=1") as second:
        assert len(await first.line()) == 65536
        async with follow(kubectl, "one") as followed:
            reading = [asyncio.get_running_loop().create_task(_read_on(one)) for one in (first, second)]
            lines = [await followed.line() for _ in range(60)]
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
    assert counted(lines) == 59


async def _read_on(followed: Followed) -> None:
    while await followed.line():
        pass
