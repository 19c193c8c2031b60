"""Guests are reached by vsock only where KubeVirt says that it has it."""

from typing import Any, cast

import msgspec
import pytest

from kubelet_bridge.daemon.vsockgate import vsock_offered
from kubelet_bridge.errors import ApiUnavailable, BridgeError, Forbidden
from kubelet_bridge.kube.client import Client


class Answer:
    def __init__(self, answer: dict[str, Any] | BridgeError) -> None:
        self.answer = answer

    async def list(self, _: object) -> bytes:
        if isinstance(self.answer, BridgeError):
            raise self.answer
        return msgspec.json.encode(self.answer)


def kubevirt(**developer: list[str]) -> dict[str, Any]:
    return {"items": [{"spec": {"configuration": {"developerConfiguration": developer}}}]}


@pytest.mark.parametrize(
    ("answer", "offered"),
    [
        ({"items": []}, False),
        ({"items": [{"spec": {}}]}, False),
        (kubevirt(featureGates=["Snapshot"]), False),
        (kubevirt(featureGates=["Snapshot", "VSOCK"]), True),
        (kubevirt(featureGates=["VSOCK"], disabledFeatureGates=["VSOCK"]), False),
        (Forbidden(403, "Forbidden", "kubevirts is forbidden"), False),
    ],
)
async def test_the_gate(answer: dict[str, Any] | BridgeError, offered: bool) -> None:
    assert await vsock_offered(cast("Client", Answer(answer))) is offered


async def test_an_api_server_that_is_away_is_asked_again() -> None:
    with pytest.raises(ApiUnavailable):
        await vsock_offered(cast("Client", Answer(ApiUnavailable(0, "Unreachable", "refused"))))
