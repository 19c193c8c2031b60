"""exec, attach, cp, port-forward, run and debug by the real kubectl, through the real API server, to a real agent.

By every way in which a kubectl speaks: WebSockets up to the node, WebSockets that the API server translates, and SPDY,
by a new one and by one of before WebSockets.
"""

import asyncio
import hashlib
import json
import random
import shutil
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import yaml
from kubernetes_asyncio.client import Configuration, CoreV1Api  # noqa: TID251 - another client than ours, on purpose
from kubernetes_asyncio.config import load_kube_config_from_dict
from kubernetes_asyncio.stream import WsApiClient

from kubelet_bridge.devcluster.binaries import old_kubectl
from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.devcluster.progress import Progress
from kubelet_bridge.model.resources import PODS
from tests.support.bridge import Bridge, Json, World, eventually
from tests.support.devhost import LABEL, Site
from tests.support.kubectl import Kubectl, forwarding
from tests.support.terminal import terminal
from tests.unit.devcluster.test_devhost_process import allowed

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not allowed, reason="this machine does not let us make namespaces"),
    pytest.mark.skipif(not shutil.which("busybox"), reason="not installed: busybox-static, which containers run here"),
]

SPDY = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}
OS = "containerdisk://example.test/os:1"
RUN = "example.test/containerdisks/os:1"
"""``kubectl run`` takes no scheme."""


@pytest.fixture
async def node(site: Site, world: World, bridge: Bridge) -> AsyncIterator[Bridge]:
    """A bridge with a host whose guests are processes."""
    async with site.host(mode="process"):
        await bridge.start()
        yield bridge
        for pod in await world.pods():
            await world.client.delete(PODS, world.namespace, pod["metadata"]["name"])

        async def none_left() -> bool:
            return not await world.pods() and not await world.vms()

        await eventually(none_left, "no Pod left", seconds=120)


@pytest.fixture(params=["websocket", "spdy", "old"])
async def client(request: pytest.FixtureRequest, dev_cluster: DevCluster, world: World) -> Kubectl:
    """A kubectl that speaks like that."""
    match request.param:
        case "websocket":
            return Kubectl(dev_cluster, world.namespace)
        case "spdy":
            return Kubectl(dev_cluster, world.namespace, env=SPDY)
        case _:
            binary = await asyncio.to_thread(old_kubectl, Progress())
            return Kubectl(dev_cluster, world.namespace, binary=binary)


def pod(world: World, name: str, *containers: Json, **spec: object) -> Json:
    """A Pod on our host whose containers are commands on the OS there."""
    body = world.pod(name, nodeSelector={LABEL: "true"}, **spec)
    body["spec"]["nodeName"] = world.bridge.node
    body["spec"]["containers"] = [{"image": OS, **one} for one in containers]
    return body


def shell(name: str, script: str, **more: object) -> Json:
    return {"name": name, "command": ["sh", "-c", script], **more}


async def up(world: World, *containers: Json) -> None:
    await world.create(PODS, pod(world, "one", *containers))
    await world.ready("one", seconds=120)


async def test_by_hand(node: Bridge, world: World, client: Kubectl, tmp_path: Path) -> None:
    """One Pod, and everything that is done to it."""
    web = "mkdir -p /tmp/$HOSTNAME; while :; do sleep 0.2; done"
    await up(world, shell("main", web), shell("side", "while :; do sleep 0.2; done"))
    await runs_commands(client)
    await passes_bytes(client)
    await is_a_terminal(client)
    await copies(client, tmp_path)
    await forwards(client, node)


async def runs_commands(kubectl: Kubectl) -> None:
    for code in (0, 1, 7, 255):
        assert (await kubectl.run("exec", "one", "-c", "main", "--", "sh", "-c", f"exit {code}"))[0] == code
    code, out, err = await kubectl.run("exec", "one", "-c", "side", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (code, out) == (3, "out\n")
    assert err.startswith("err\n")
    assert "exit code 3" in err
    code, _, err = await kubectl.run("exec", "one", "-c", "main", "--", "/no/such/program")
    assert code != 0
    assert "/no/such/program" in err
    code, _, err = await kubectl.run("exec", "one", "-c", "nobody", "--", "true")
    assert code == 1
    assert "nobody" in err
    many = await asyncio.gather(
        *(kubectl.run("exec", "one", "-c", "main", "--", "sh", "-c", f"echo {number}") for number in range(12))
    )
    assert [(code, out) for code, out, _ in many] == [(0, f"{number}\n") for number in range(12)]


async def passes_bytes(kubectl: Kubectl) -> None:
    data = random.Random(1).randbytes(5_000_000)
    code, out, _ = await kubectl.bytes("exec", "-i", "one", "-c", "main", "--", "cat", stdin=data)
    assert code == 0
    assert hashlib.sha256(out).digest() == hashlib.sha256(data).digest()
    code, out, _ = await kubectl.bytes("exec", "-i", "one", "-c", "main", "--", "wc", "-c", stdin=data)
    assert out.split() == [b"5000000"], "the end of the input arrived"
    code, out, _ = await kubectl.bytes("exec", "one", "-c", "main", "--", "head", "-c", "3000000", "/dev/zero")
    assert (code, out) == (0, bytes(3_000_000))


async def is_a_terminal(kubectl: Kubectl) -> None:
    argv = kubectl.argv("exec", "-it", "one", "-c", "main", "--", "sh")
    async with terminal(*argv, env=kubectl.env, rows=31, columns=97) as screen:
        screen.type("stty size; echo $((6*7))done\n")
        await screen.sees("31 97")
        await screen.sees("42done")
        screen.resize(45, 123)
        screen.type("sleep 0.5; stty size\n")
        await screen.sees("45 123")
        screen.type("sleep 60\n")
        await asyncio.sleep(0.3)
        screen.type("\x03")
        screen.type("echo inter''rupted; exit 4\n")
        await screen.sees("interrupted")
        assert await screen.ends() == 4


async def copies(kubectl: Kubectl, directory: Path) -> None:
    source = directory / "tree"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "data").write_bytes(random.Random(2).randbytes(3_000_000))
    (source / "name with spaces").write_text("hello\n")
    target = f"/tmp/kb-{random.SystemRandom().randrange(10**9)}"
    try:
        await kubectl("cp", str(source), f"one:{target}", "-c", "main")
        await kubectl("cp", f"one:{target}", str(directory / "back"), "-c", "main")
        assert (directory / "back" / "name with spaces").read_text() == "hello\n"
        assert (directory / "back" / "sub" / "data").read_bytes() == (source / "sub" / "data").read_bytes()
        await kubectl.run("cp", "one:/no/such/file", str(directory / "none"), "-c", "main")
        assert not (directory / "none").exists()
    finally:
        await kubectl("exec", "one", "-c", "main", "--", "rm", "-rf", target)


async def forwards(kubectl: Kubectl, bridge: Bridge) -> None:
    """To a server on the loopback of the guest, which in mode process is this machine's."""
    data = random.Random(3).randbytes(2_000_000)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with forwarding(kubectl, "pod/one", port) as local:

        async def round_trip(piece: bytes) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", local)
            writer.write(piece)
            writer.write_eof()
            try:
                return await reader.read(len(piece) + 1)
            finally:
                writer.close()

        async def whole(piece: bytes) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", local)

            async def send() -> None:
                writer.write(piece)
                await writer.drain()
                writer.write_eof()

            async with asyncio.TaskGroup() as group:
                group.create_task(send())
                got = group.create_task(reader.read())
            writer.close()
            return got.result()

        assert await round_trip(b"hello") == b"hello"
        pieces = [data[number * 1000 :] for number in range(8)]
        assert await asyncio.gather(*map(whole, pieces)) == pieces
    server.close()
    await server.wait_closed()
    async with forwarding(kubectl, "pod/one", port) as local:  # nobody listens there any more
        reader, writer = await asyncio.open_connection("127.0.0.1", local)
        assert await reader.read() == b""
        writer.close()


async def test_attach_run_and_debug(node: Bridge, world: World, client: Kubectl) -> None:
    script = 'while read line; do echo "got $line"; [ "$line" = end ] && exit 5; done'
    await up(world, shell("main", script, stdin=True, tty=True), shell("side", "while :; do sleep 0.2; done"))
    async with terminal(*client.argv("attach", "-it", "one", "-c", "main"), env=client.env) as screen:
        await screen.sees("If you don't see a command prompt")
        screen.type("hello\n")
        await screen.sees("got hello")
    async with terminal(*client.argv("attach", "-it", "one", "-c", "main"), env=client.env) as screen:
        screen.type("again\n")
        await screen.sees("got again")
    debug = client.argv("debug", "-it", "one", "--image=busybox", "--target=main")
    async with terminal(*debug, env=client.env) as screen:
        screen.type("\necho $((6*7))debugged\n")
        await screen.sees("42debugged", seconds=60)
        screen.type("exit\n")
        await screen.ends(seconds=60)
    await runs_a_pod(world, client)


async def runs_a_pod(world: World, kubectl: Kubectl) -> None:
    spec = pod(world, "two")["spec"]
    spec["containers"] = [{"name": "two", "image": RUN, "stdin": True, "tty": True, "command": ["sh"]}]
    overrides = json.dumps({"apiVersion": "v1", "spec": spec})
    run = kubectl.argv("run", "two", "-it", "--rm", f"--image={RUN}", f"--overrides={overrides}", "--restart=Never")
    async with terminal(*run, env=kubectl.env) as screen:
        screen.type("\necho $((6*7))run\n")
        await screen.sees("42run", seconds=90)
        screen.type("exit 0\n")
        await screen.sees('pod "two" deleted', seconds=60)
        assert await screen.ends() == 0


async def test_whoever_goes_away_ends_what_ran_for_him(node: Bridge, world: World, client: Kubectl) -> None:
    await up(world, shell("main", "while :; do sleep 0.2; done"))
    script = "while :; do date +%s%N >/tmp/beat; sleep 0.1; done"
    process = await client.start("exec", "-i", "one", "--", "sh", "-c", script)

    async def beat() -> str:
        return (await client.run("exec", "one", "--", "cat", "/tmp/beat"))[1]

    await eventually(beat, "it runs")
    before = await beat()

    async def goes_on() -> bool:
        return await beat() != before

    await eventually(goes_on, "it goes on")
    process.kill()
    await process.communicate()

    async def ended() -> bool:
        last = await beat()
        await asyncio.sleep(1.0)
        return await beat() == last

    await eventually(ended, "it ended")


async def test_the_python_client_speaks_version_4(node: Bridge, world: World, dev_cluster: DevCluster) -> None:
    await up(world, shell("main", "while :; do sleep 0.2; done"))
    kubeconfig = yaml.safe_load(dev_cluster.layout.kubeconfig("admin").read_text())
    configuration = Configuration()
    await load_kube_config_from_dict(kubeconfig, client_configuration=configuration)
    async with WsApiClient(configuration) as client:
        script = "echo out; echo err >&2; exit 9"
        ask = partial(
            CoreV1Api(client).connect_get_namespaced_pod_exec, "one", world.namespace, container="main",
            command=["sh", "-c", script], stdin=False, stdout=True, stderr=True, tty=False,
        )  # fmt: skip
        assert set((await ask()).split()) == {"out", "err"}
        channels: dict[int, bytes] = {}
        async with await ask(_preload_content=False) as socket:
            async for message in socket:
                channel = message.data[0]
                channels[channel] = channels.get(channel, b"") + message.data[1:]
        assert (channels[1], channels[2]) == (b"out\n", b"err\n")
        assert WsApiClient.parse_error_data(channels[3]) == 9
