"""What the status manager knows and the API server does not yet."""

from datetime import UTC, datetime
from typing import Any, cast

import msgspec
import pytest

from kubelet_bridge.errors import ApiUnavailable
from kubelet_bridge.model.core import Pod, PodStatus
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.reconcile.ports import ClusterPort, EventPort
from kubelet_bridge.reconcile.statusmanager import StatusManager
from tests.support.pods import UID, pod

KEY = PodKey("shop", "web", UID)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROW = Intent(uid=UID, id="dpl_1", namespace="shop", name="web", accepted_at=NOW)
WANTED = PodStatus(phase="Failed", reason="Evicted")


class Cluster:
    """An API server that can be away."""

    away = True

    async def patch_status(self, _key: PodKey, _patch: dict[str, Any]) -> None:
        if self.away:
            raise ApiUnavailable(0, "Unreachable", "no answer")

    def record(self, *_: object) -> None:
        """As an event port."""


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def manager(cluster: Cluster) -> StatusManager:
    return StatusManager(cast(ClusterPort, cluster), cast(EventPort, cluster), host_ip="192.0.2.1")


async def bring(manager: StatusManager, of: Pod | None, wanted: PodStatus = WANTED) -> None:
    snapshot = Snapshot(key=KEY, pod=of, intent=ROW)
    await manager.bring(snapshot, wanted, NOW, list)


async def test_a_status_that_was_not_taken_is_known_until_it_is(manager: StatusManager, cluster: Cluster) -> None:
    with pytest.raises(ApiUnavailable):
        await bring(manager, pod())
    assert manager.unwritten(UID) == WANTED
    cluster.away = False
    await bring(manager, pod())
    assert manager.unwritten(UID) is None


async def test_one_that_is_no_longer_wanted_is_not_known(manager: StatusManager) -> None:
    with pytest.raises(ApiUnavailable):
        await bring(manager, pod())
    await bring(manager, msgspec.structs.replace(pod(), status=WANTED))
    assert manager.unwritten(UID) is None


async def test_nor_is_one_of_a_pod_that_is_gone(manager: StatusManager) -> None:
    with pytest.raises(ApiUnavailable):
        await bring(manager, pod())
    await manager.write(Snapshot(key=KEY, pod=None, intent=ROW), None, NOW)
    assert manager.unwritten(UID) is None
