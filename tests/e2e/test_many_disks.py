"""Two hundred claims at once: one disk each, and none is left when they go.

cdi-controller is stopped meanwhile: what is tried is the bridge, which hands out disks before they are filled.
"""

import asyncio

import pytest

from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.model.resources import PERSISTENTVOLUMECLAIMS
from tests.support.bridge import Bridge, World
from tests.support.disks import Disks

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
_MANY = 200


async def test_two_hundred_claims_come_and_go_at_once(
    world: World, bridge: Bridge, disks: Disks, dev_cluster: DevCluster
) -> None:
    of = await disks.storage_class()
    names = [f"disk-{number}" for number in range(_MANY)]
    await bridge.start()
    await dev_cluster.stop("cdi-controller")
    try:
        await asyncio.gather(*(disks.claim(name, of, size="1Mi") for name in names))
        await disks.bound(*names, seconds=120)
        await disks.one_each(*names)
        assert len({one["spec"]["volumeName"] for one in await _bound(world, of)}) == _MANY
        await asyncio.gather(*(disks.delete(name) for name in names))
        await disks.nothing_left(seconds=150)
    finally:
        await dev_cluster.start("cdi-controller")
    assert "reason=Invalid" not in await asyncio.to_thread(bridge.log.read_text), "every write was one that may be made"


async def _bound(world: World, of: str) -> list[dict[str, dict[str, str]]]:
    claims = await world.find(PERSISTENTVOLUMECLAIMS)
    return [one for one in claims if one["spec"]["storageClassName"] == of]
