"""The trial that ``helm test`` runs: one Pod, which is gone in the end whatever came of it."""

import asyncio
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from kubelet_bridge.cli.trial import read_pod, try_pod
from kubelet_bridge.errors import AlreadyExists, ApiUnavailable, Terminal
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.resources import Resource

Json = dict[str, Any]
POD: Json = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "vm", "namespace": "vms"}, "spec": {}}
READY = {"spec": {"nodeName": "node"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
WAITING = {"status": {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}}


class Pods:
    """Answers with one status after the other, and then always with the last."""

    def __init__(self, *answers: Json | Exception) -> None:
        self._answers = list(answers)
        self.log: list[str] = []

    async def create(self, _resource: Resource, namespace: str, body: Json) -> bytes:
        self.log.append(f"create {namespace}/{body['metadata']['name']}")
        return b"{}"

    async def get(self, _resource: Resource, _namespace: str, _name: str) -> bytes:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return msgspec.json.encode(answer)

    async def delete(self, _resource: Resource, namespace: str, name: str) -> bytes:
        self.log.append(f"delete {namespace}/{name}")
        return b"{}"


async def tried(pods: Pods, seconds: float = 30.0) -> str:
    return await try_pod(cast(Client, pods), POD, seconds=seconds)


async def test_a_pod_becomes_ready() -> None:
    pods = Pods(ApiUnavailable(0, "Unreachable", "no answer"), READY)
    assert await tried(pods) == "node"
    assert pods.log == ["create vms/vm", "delete vms/vm"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (WAITING, "not Ready after 0 s: phase Pending; PodScheduled: Unschedulable"),
        ({"status": {"phase": "Failed", "message": "no such image"}}, "has ended: phase Failed; no such image"),
    ],
)
async def test_one_that_does_not_is_deleted_too(answer: Json, said: str) -> None:
    pods = Pods(answer)
    with pytest.raises(Terminal, match=said):
        await tried(pods, seconds=0.1)
    assert pods.log[-1] == "delete vms/vm"


async def test_one_is_deleted_when_the_trial_is_ended() -> None:
    pods = Pods(WAITING)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(tried(pods), 0.1)
    assert pods.log == ["create vms/vm", "delete vms/vm"]


async def test_a_pod_of_somebody_else_is_left_alone() -> None:
    class Taken(Pods):
        async def create(self, _resource: Resource, namespace: str, body: Json) -> bytes:
            raise AlreadyExists(409, "AlreadyExists", "there is one")

    pods = Taken(READY)
    with pytest.raises(AlreadyExists):
        await tried(pods)
    assert pods.log == []


@pytest.mark.parametrize(
    "text",
    ["[]", "{", "kind: Pod", "kind: Service\nmetadata: {name: a, namespace: b}", "kind: Pod\nmetadata: {name: a}"],
)
def test_what_is_no_pod(tmp_path: Path, text: str) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text(text)
    with pytest.raises(Terminal):
        read_pod(file)
