"""Pods are made to sit out an absence: each once, and what cannot be written is told once and tried again."""

from typing import Any, cast

import msgspec
import pytest
from structlog.testing import capture_logs

from kubelet_bridge.errors import ApiUnavailable, Conflict, Forbidden
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.informer import Informer
from kubelet_bridge.kube.objectcache import Cached
from kubelet_bridge.kube.outages import INDEX, OutageTolerations, by_outage
from kubelet_bridge.model.meta import ObjectHead
from kubelet_bridge.translate.outage import DEFAULT_SECONDS, TAINTS

Json = dict[str, Any]
SHORT = {"key": TAINTS[0], "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": DEFAULT_SECONDS}
LONG = {name: value for name, value in SHORT.items() if name != "tolerationSeconds"}


class World:
    """An API server and the cache of its Pods, in one."""

    def __init__(self) -> None:
        self.pods: dict[str, Cached] = {}
        self.patches: list[Json] = []
        self.fail: Exception | None = None
        self.outages = OutageTolerations(cast(Client, self), cast(Informer, self))

    def add(self, name: str, toleration: Json = SHORT) -> None:
        head = {"name": name, "namespace": "shop", "uid": f"u-{name}", "resourceVersion": "7"}
        self.learn(msgspec.json.encode({"metadata": head, "spec": {"tolerations": [toleration]}}))

    def learn(self, raw: bytes) -> None:
        head = msgspec.json.decode(raw, type=ObjectHead)
        self.pods[head.metadata.name] = Cached(head, raw)

    def by_index(self, index: str, value: str) -> list[Cached]:
        assert index == INDEX
        return [one for one in self.pods.values() if value in by_outage(one)]

    async def patch(self, _resource: object, namespace: str, name: str, body: Json, **_: object) -> bytes:
        if self.fail is not None:
            raise self.fail
        self.patches.append(body)
        head = {"name": name, "namespace": namespace, "uid": f"u-{name}", "resourceVersion": "8"}
        return msgspec.json.encode({"metadata": head, "spec": body["spec"]})


async def test_each_is_changed_once_and_only_as_it_was_seen() -> None:
    world = World()
    world.add("web")
    world.add("meant", SHORT | {"tolerationSeconds": 5})
    await world.outages.mend()
    await world.outages.mend()
    known = {"uid": "u-web", "resourceVersion": "7"}
    assert world.patches == [{"metadata": known, "spec": {"tolerations": [LONG]}}]


@pytest.mark.parametrize("error", [Forbidden(403, "Forbidden", "no"), ApiUnavailable(503, "ServiceUnavailable", "no")])
async def test_what_cannot_be_written_is_told_once_and_tried_again(error: Exception) -> None:
    world = World()
    world.add("web")
    world.fail = error
    with capture_logs() as logs:
        await world.outages.mend()
        await world.outages.mend()
    assert [one["pod"] for one in logs] == ["web"]
    world.fail = None
    await world.outages.mend()
    assert len(world.patches) == 1


async def test_anothers_write_is_no_trouble() -> None:
    world = World()
    world.add("web")
    world.fail = Conflict(409, "Conflict", "modified")
    with capture_logs() as logs:
        await world.outages.mend()
    assert logs == []
