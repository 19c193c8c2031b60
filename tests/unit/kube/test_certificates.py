"""Signing requests: asked, looked at, and, where that is wanted, approved: our own and no other's."""

from base64 import b64encode
from typing import Any, cast

import msgspec
import pytest

from kubelet_bridge.errors import AlreadyExists, Conflict
from kubelet_bridge.kube.certificates import KUBELET_SERVING, ServingSigner
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.access import Issued, Refused, Waiting
from kubelet_bridge.model.resources import Resource

Json = dict[str, Any]
NAME, REQUEST = "kubelet-bridge-node-1", b"-----BEGIN CERTIFICATE REQUEST-----"


class Requests:
    """The cluster's requests; ``approved`` are those that were, as they were written."""

    def __init__(self) -> None:
        self.there: dict[str, Json] = {}
        self.approved: list[Json] = []
        self.refuse: Exception | None = None

    async def create(self, _resource: Resource, _namespace: None, body: Json) -> bytes:
        if body["metadata"]["name"] in self.there:
            raise AlreadyExists(409, "AlreadyExists", "it is there")
        self.there[body["metadata"]["name"]] = msgspec.json.decode(msgspec.json.encode(body))
        return b"{}"

    async def get(self, _resource: Resource, _namespace: None, name: str) -> bytes:
        return msgspec.json.encode(self.there[name])

    async def replace(self, _resource: Resource, _namespace: None, name: str, body: Json, *, subresource: str) -> bytes:
        assert subresource == "approval"
        if self.refuse is not None:
            raise self.refuse
        self.approved.append(body)
        self.there[name] = body
        return b"{}"


def signer(requests: Requests, *, approve: bool) -> ServingSigner:
    return ServingSigner(cast(Client, requests), approve=approve)


async def test_somebody_else_approves() -> None:
    requests = Requests()
    one = signer(requests, approve=False)
    await one.submit(NAME, REQUEST)
    assert await one.answer(NAME) == Waiting()
    assert not requests.approved


async def test_our_own_request_is_approved_once() -> None:
    requests = Requests()
    one = signer(requests, approve=True)
    await one.submit(NAME, REQUEST)
    assert await one.answer(NAME) == Waiting()
    assert await one.answer(NAME) == Waiting()
    (written,) = requests.approved
    assert [condition["type"] for condition in written["status"]["conditions"]] == ["Approved"]
    assert written["spec"] == requests.there[NAME]["spec"]
    requests.there[NAME]["status"]["certificate"] = "cGVt"
    assert await one.answer(NAME) == Issued(b"pem")


@pytest.mark.parametrize(
    "spec",
    [
        {"signerName": KUBELET_SERVING, "request": "c29tZWJvZHkgZWxzZSdz"},
        {"signerName": "kubernetes.io/kube-apiserver-client", "request": b64encode(REQUEST).decode()},
    ],
    ids=["another request", "another signer"],
)  # fmt: skip
async def test_another_request_of_that_name_is_not(spec: Json) -> None:
    requests = Requests()
    requests.there[NAME] = {"metadata": {"name": NAME}, "spec": spec}
    one = signer(requests, approve=True)
    await one.submit(NAME, REQUEST)
    assert await one.answer(NAME) == Waiting()
    assert not requests.approved


async def test_what_was_denied_stays_denied() -> None:
    requests = Requests()
    one = signer(requests, approve=True)
    await one.submit(NAME, REQUEST)
    requests.there[NAME]["status"] = {"conditions": [{"type": "Denied", "status": "True", "reason": "No"}]}
    assert await one.answer(NAME) == Refused("No", "")
    assert not requests.approved


async def test_somebody_was_faster() -> None:
    requests = Requests()
    requests.refuse = Conflict(409, "Conflict", "changed meanwhile")
    one = signer(requests, approve=True)
    await one.submit(NAME, REQUEST)
    assert await one.answer(NAME) == Waiting()
