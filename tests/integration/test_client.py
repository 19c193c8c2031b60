"""Requests to the real API server: names that must not be sent, answers that do not come, credentials that change."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.errors import ApiUnavailable, InvalidName, NotFound, TooManyRequests, Unauthorized
from kubelet_bridge.kube import credentials
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.inputs import InputReader
from kubelet_bridge.kube.view import NodeView
from kubelet_bridge.model.resources import CONFIGMAPS, NAMESPACES, SECRETS, SERVICEACCOUNTS
from tests.support.bridge import decoded
from tests.support.pods import container, pod
from tests.support.proxy import Proxy, proxy

pytestmark = pytest.mark.cluster


@pytest.fixture
async def network(dev_cluster: DevCluster, tmp_path: Path) -> AsyncIterator[tuple[Proxy, Client]]:
    async with (
        proxy(dev_cluster.layout.kubeconfig("admin"), tmp_path) as (one, kubeconfig),
        Client(await credentials.load(kubeconfig), timeout=1.0) as client,
    ):
        yield one, client


@pytest.mark.parametrize(
    "name", ["../../kube-system/secrets/x", "..", ".", "", "a/b", "a%2fb", "a?watch=true", "a#b", "a b", "a\n", "a\\b"]
)
async def test_a_name_that_leads_elsewhere_is_not_sent(network: tuple[Proxy, Client], name: str) -> None:
    one, client = network
    with pytest.raises(InvalidName, match="Secret"):
        await client.get(SECRETS, "default", name)
    with pytest.raises(InvalidName, match="Secret"):
        await client.delete(SECRETS, "default", name)
    if name:  # an empty namespace means all of them
        with pytest.raises(InvalidName, match="namespace"):
            await client.list(SECRETS, name)
    assert one.requests == []


async def test_a_pod_that_points_at_another_namespaces_secret_finds_nothing(network: tuple[Proxy, Client]) -> None:
    one, client = network
    hostile = {"secretKeyRef": {"name": "../../kube-system/secrets/x", "key": "k"}}
    found = await InputReader(client).read(container(env=[{"name": "A", "valueFrom": hostile}]))
    assert found.secrets == {}
    assert {path for _, path in one.requests} == {
        "/api/v1/namespaces/default/services", "/api/v1/namespaces/shop/services",
    }  # fmt: skip


async def test_an_answer_that_does_not_come(network: tuple[Proxy, Client]) -> None:
    one, client = network
    one.hang = True
    with pytest.raises(ApiUnavailable) as raised:
        await client.get(NAMESPACES, None, "default")
    assert (raised.value.status, raised.value.reason) == (0, "Timeout")


async def test_nobody_listens(network: tuple[Proxy, Client]) -> None:
    one, client = network
    one.down = True
    with pytest.raises(ApiUnavailable, match="GET /api/v1/namespaces/default"):
        await client.get(NAMESPACES, None, "default")


async def test_a_web_page_is_no_answer(network: tuple[Proxy, Client]) -> None:
    one, client = network
    one.instead = ("<html>Sign in</html>", 200, {"Content-Type": "text/html; charset=utf-8"})
    with pytest.raises(ApiUnavailable, match="web page"):
        await client.get(NAMESPACES, None, "default")


@pytest.mark.parametrize(("status", "kind"), [(429, TooManyRequests), (503, ApiUnavailable)])
async def test_the_delay_that_the_server_asks_for(
    network: tuple[Proxy, Client], status: int, kind: type[ApiUnavailable]
) -> None:
    one, client = network
    one.instead = ("Too many requests, please try again later.", status, {"Retry-After": "7"})
    with pytest.raises(kind, match="please try again later") as raised:
        await client.get(NAMESPACES, None, "default")
    assert raised.value.retry_after == 7


async def test_services_that_cannot_be_listed_fail_each_reader_and_no_more(network: tuple[Proxy, Client]) -> None:
    """Readers of one namespace share a list. A failed one is an error to each of them, never a cancellation."""
    one, client = network
    reader = InputReader(client)
    pods = [pod(name=f"p{number}") for number in range(5)]
    one.fail = {"GET": 5}
    results = await asyncio.gather(*(reader.read(one) for one in pods), return_exceptions=True)
    assert [type(result) for result in results] == [ApiUnavailable] * 5
    one.requests.clear()
    await asyncio.gather(*(reader.read(one) for one in pods))
    assert len(one.requests) == 2


async def test_stopping_a_vm_that_is_not_there_is_no_error(admin: Client) -> None:
    """KubeVirt answers 406 to a client that accepts nothing but JSON, before it looks for the VM."""
    await NodeView(admin, "no-node").stop_vm("default", "no-such-vm", grace=0)
    with pytest.raises(NotFound):
        await admin.get(CONFIGMAPS, "default", "no-such-vm")


async def test_a_token_that_was_replaced(dev_cluster: DevCluster, admin: Client, tmp_path: Path) -> None:
    """The file is read again when the API server knows the token no longer."""
    account = f"rotated-{uuid.uuid4().hex[:8]}"
    await admin.create(SERVICEACCOUNTS, "default", {"metadata": {"name": account}})
    body: dict[str, Any] = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    made = decoded(await admin.create(SERVICEACCOUNTS, "default", body, name=account, subresource="token"))
    path, token = tmp_path / "kubeconfig", tmp_path / "token"
    known = yaml.safe_load(dev_cluster.layout.kubeconfig("admin").read_text())
    known["users"] = [{"name": user["name"], "user": {"tokenFile": str(token)}} for user in known["users"]]
    path.write_text(yaml.safe_dump(known))
    token.write_text("not-a-token")
    review = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    question = b'{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}'
    async with Client(await credentials.load(path)) as client:
        token.write_text(made["status"]["token"])
        who = decoded(await client.request("POST", review, body=question))
        assert who["status"]["userInfo"]["username"] == f"system:serviceaccount:default:{account}"
        await admin.delete(SERVICEACCOUNTS, "default", account)
        path.write_text("{")  # somebody is writing it just now
        client._credentials._renewed_at = -60.0
        with pytest.raises(Unauthorized):
            await _until_refused(client, review, question)


async def _until_refused(client: Client, path: str, body: bytes) -> None:
    """The API server remembers a good token for ten seconds."""
    for _ in range(60):
        await client.request("POST", path, body=body)
        await asyncio.sleep(0.25)
