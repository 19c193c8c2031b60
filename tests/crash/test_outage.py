"""The API server away, slow, forgetful or out of order: nothing is lost or deleted, and it is caught up with."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.resources import PODS
from tests.support.bridge import Bridge, Json, World, eventually
from tests.support.disks import Disks
from tests.support.proxy import Proxy, proxy

pytestmark = [pytest.mark.cluster, pytest.mark.crash, pytest.mark.timeout(240)]


@contextlib.asynccontextmanager
async def _through_proxy(bridge: Bridge, tmp_path: Path) -> AsyncIterator[Proxy]:
    async with proxy(bridge.kubeconfig, tmp_path) as (one, kubeconfig):
        bridge.kubeconfig = kubeconfig
        await bridge.start()
        try:
            yield one
        finally:
            await bridge.kill()


async def test_the_api_server_is_away_for_a_minute(world: World, bridge: Bridge, tmp_path: Path) -> None:
    async with _through_proxy(bridge, tmp_path) as network:
        await world.create(PODS, world.pod("one"))
        before = await world.ready("one")
        vms = [vm["metadata"]["uid"] for vm in await world.vms()]
        network.down = True
        network.cut()
        await world.create(PODS, world.pod("meanwhile", nodeName=bridge.node))
        await asyncio.sleep(60)
        assert bridge.alive
        async with aiohttp.ClientSession() as http, http.get(bridge.admin("/livez")) as response:
            assert response.status == 200
        network.down = False
        await world.ready("meanwhile", seconds=90)
        after = await world.ready("one")
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert vms[0] in [vm["metadata"]["uid"] for vm in await world.vms()]
        await world.settled()


async def test_watches_are_cut_again_and_again(world: World, bridge: Bridge, tmp_path: Path) -> None:
    async with _through_proxy(bridge, tmp_path) as network:
        for number in range(6):
            await world.create(PODS, world.pod(f"p{number}"))
            network.cut()
            await asyncio.sleep(0.3)
        for number in range(6):
            await world.ready(f"p{number}")
        network.gone_once = {"pods", "virtualmachines", "virtualmachineinstances"}
        network.cut()
        await world.client.delete(PODS, world.namespace, "p0")
        network.cut()
        await world.gone(PODS, "p0")
        await world.settled()


async def test_events_come_late_and_out_of_order(world: World, bridge: Bridge, tmp_path: Path) -> None:
    async with _through_proxy(bridge, tmp_path) as network:
        network.delay, network.reorder = 0.5, True
        for number in range(5):
            await world.create(PODS, world.pod(f"p{number}"))
        await asyncio.sleep(1)
        await world.client.delete(PODS, world.namespace, "p0", grace_seconds=0)
        await world.create(PODS, world.pod("p0"))
        for number in range(5):
            await world.ready(f"p{number}", seconds=90)
        for number in range(5):
            await world.client.delete(PODS, world.namespace, f"p{number}")
        for number in range(5):
            await world.gone(PODS, f"p{number}", seconds=90)

        async def empty() -> bool:
            return not await world.vms()

        await eventually(empty, "no VM left")


async def test_writes_fail_for_a_while(world: World, bridge: Bridge, tmp_path: Path) -> None:
    async with _through_proxy(bridge, tmp_path) as network:
        network.fail = {"POST": 4, "PATCH": 6, "DELETE": 3}
        await world.create(PODS, world.pod("one"))
        await world.ready("one", seconds=90)
        network.fail = {"POST": 2, "PATCH": 4, "DELETE": 3}
        await world.client.delete(PODS, world.namespace, "one")
        await world.gone(PODS, "one", seconds=90)
        await world.settled()


async def test_etcd_is_compacted_under_a_paused_watch(
    world: World, bridge: Bridge, dev_cluster: DevCluster, admin: Client, tmp_path: Path
) -> None:
    """A watch resumed from a compacted version is answered 410 by the real API server."""
    async with _through_proxy(bridge, tmp_path) as network:
        await world.create(PODS, world.pod("one"))
        await world.ready("one")
        network.down = True
        network.cut()
        await world.create(PODS, world.pod("two", nodeName=bridge.node))
        await world.client.delete(PODS, world.namespace, "one")
        await dev_cluster.compact()
        network.down = False
        await world.ready("two", seconds=90)
        await world.gone(PODS, "one", seconds=90)
        await world.settled()


async def test_cdi_is_not_there_until_it_is(world: World, bridge: Bridge, disks: Disks, tmp_path: Path) -> None:
    """Without its kinds no disk is lost, none is made, and claims are told; then it goes on."""
    of = await disks.storage_class()
    async with _through_proxy(bridge, tmp_path) as network:
        await disks.claim("kept", of)
        await disks.filled("kept")
        written, uids = await disks.write("kept"), await disks.uids()
        await bridge.kill()
        network.unknown = "/apis/cdi.kubevirt.io/"
        await bridge.start()
        await disks.claim("late", of)
        for name in ("kept", "late"):
            await disks.says(name, "ProvisioningFailed", "is CDI installed?")
        await world.create(PODS, world.pod("one"))
        await world.ready("one")
        network.unknown = ""
        await disks.bound("kept", "late")
        await disks.filled("late")
        await disks.one_each("kept", "late")
        assert not [one for one in await disks.told("kept") if one["reason"] == "VolumeLost"]
        assert (await disks.uids())["kept"] == uids["kept"]
        assert await disks.digest("kept") == written["kept"]
        await disks.delete("kept", "late")
        await disks.nothing_left()


async def test_what_is_known_is_still_told_and_said_to_be_old(world: World, bridge: Bridge, tmp_path: Path) -> None:
    """By whoever was let in before; nobody new gets in."""
    async with _through_proxy(bridge, tmp_path) as network:
        await world.create(PODS, world.pod("one"))
        await world.ready("one")
        path = f"/vms/by-name/{world.namespace}/one"
        status, fresh = await _asked(bridge, path)
        assert (status, fresh["status"], "stale_since" in fresh) == (200, "running", False)
        await _asked(bridge, "/pods")
        network.down = True
        network.cut()

        async def stale() -> Json | None:
            status, found = await _asked(bridge, path)
            assert status == 200
            return found if "stale_since" in found else None

        old = await eventually(stale, "an answer that says how old it is")
        assert old["vm_uid"] == fresh["vm_uid"]
        assert old["cluster"] == fresh["cluster"]
        _, pods = await _asked(bridge, "/pods")
        assert [pod["metadata"]["name"] for pod in pods["items"]] == ["one"]
        assert (await _asked(bridge, "/configz"))[0] == 200, "get nodes/proxy is known to be allowed"
        assert (await _asked(bridge, "/stats/summary"))[0] == 503
        assert (await _asked(bridge, path, token="unknown"))[0] == 503
        network.down = False

        async def fresh_again() -> bool:
            return "stale_since" not in (await _asked(bridge, path))[1]

        await eventually(fresh_again, "an answer of now")


async def _asked(bridge: Bridge, path: str, *, token: str = "") -> tuple[int, Json]:
    """As the API server asks: with its certificate; or with a token."""
    layout = bridge.cluster.layout
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if not token:
        context.load_cert_chain(layout.certificate("apiserver-kubelet-client"), layout.key("apiserver-kubelet-client"))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"https://{bridge.cluster.state.node_address}:{bridge.port}{path}"
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http,
        http.get(url, headers=headers) as response,
    ):
        return response.status, await response.json() if response.status == 200 else {}
