"""A development cluster whose guests run in QEMU, for this directory alone, and a bridge that runs images in them."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kubelet_bridge.devcluster import demomode, registry
from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.devcluster.hostmodes import HostMode
from kubelet_bridge.devcluster.images import catalogue
from kubelet_bridge.devcluster.preparation import Options
from kubelet_bridge.devcluster.progress import Progress
from kubelet_bridge.errors import NotFound
from kubelet_bridge.model.resources import NAMESPACES
from kubelet_bridge.settings import cache_root
from tests.e2e.guests.waiting import SECONDS
from tests.support.bridge import Bridge, World, eventually
from tests.support.cluster import GIVEN, run_apart

DEBIAN = "quay.io/containerdisks/debian:12"


@pytest.fixture(scope="package")
def dev_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    """Instead of the cluster that other tests share: this one's VirtualMachines are real."""
    if obstacle := demomode.obstacle(demomode.look(cache_root())):
        pytest.skip(f"no real guests on this machine: {obstacle}")
    if demomode.choose(cache_root(), Progress()) is HostMode.NONE:
        pytest.skip("no real guests on this machine: what they need cannot be installed")
    given = os.environ.get(GIVEN)
    directory = Path(f"{given}-guests") if given else tmp_path_factory.mktemp("guests") / "dev"
    cluster = DevCluster(directory, Progress())
    try:
        run_apart(cluster.up(Options(host_mode=HostMode.QEMU)))
        yield cluster
    finally:
        if not given:
            run_apart(cluster.down())


@pytest.fixture(scope="package")
def debian() -> str:
    """An OS image as its maker left it, built if it is not here yet."""
    for source in catalogue.named([DEBIAN]):
        catalogue.ensure(source, Progress())
    return DEBIAN


@pytest.fixture
async def bridge(bridge: Bridge) -> Bridge:
    """A bridge that runs and knows the runtime image and the registry."""
    bridge.arguments = registry.bridge_arguments(bridge.cluster.layout, bridge.cluster.state)
    await bridge.start()
    return bridge


@pytest.fixture
async def world(world: World) -> AsyncIterator[World]:
    """As everywhere, but that no guest outlives its test: the next one needs the processors."""
    yield world
    if not world.bridge.alive:
        await world.bridge.start()
    await world.client.delete(NAMESPACES, None, world.namespace)

    async def ended() -> bool:
        try:
            await world.client.get(NAMESPACES, None, world.namespace)
        except NotFound:
            return True
        return False

    await eventually(ended, lambda: f"the end of the namespace; {world.bridge.tail()}", seconds=SECONDS)
