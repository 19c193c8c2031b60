"""Who may, decided by a real API server: real tokens, real RBAC, and each route that the daemon declares."""

import asyncio
import ssl
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.kube.certificates import client_authority
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.reviews import Reviews
from kubelet_bridge.kubelet_api.auth import Authenticator, Authorizer
from kubelet_bridge.kubelet_api.certificates import SelfSignedCertificate
from kubelet_bridge.kubelet_api.clientca import ClientCa
from kubelet_bridge.kubelet_api.server import KubeletServer
from kubelet_bridge.kubelet_api.tls import Tls
from kubelet_bridge.model.resources import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    SERVICEACCOUNTS,
    SUBJECTACCESSREVIEWS,
)
from tests.support.bridge import decoded, eventually
from tests.support.declaredroutes import Declared, declared, methods, stubs

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(90)]

Right = tuple[str, str]

CALLERS: dict[str, set[Right]] = {
    "nothing": set(),
    "stats": {("get", "stats")},
    "reader": {("get", "proxy")},
    "pods": {("get", "pods"), ("get", "healthz"), ("get", "configz")},
    "full": {("*", "proxy"), ("*", "stats"), ("*", "metrics"), ("*", "log"), ("*", "checkpoint")},
}
"""ServiceAccount → verbs on subresources of ``nodes``."""


@dataclass
class Place:
    """A server of stubs whose reviewer is the API server."""

    name: str
    url: str
    routes: list[Declared]
    cluster: DevCluster
    admin: Client

    def account(self, who: str) -> str:
        return f"{self.name}-{who}"

    async def ask(self, method: str, path: str, *, token: str = "", certificate: str = "") -> int:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(self.cluster.layout.certificate(certificate), self.cluster.layout.key(certificate))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http,
            http.request(method, self.url + path, headers=headers, allow_redirects=False) as response,
        ):
            return response.status


@pytest.fixture
async def place(dev_cluster: DevCluster, admin: Client, tmp_path: Path) -> AsyncIterator[Place]:
    name, address = f"access-{uuid.uuid4().hex[:8]}", dev_cluster.state.node_address
    routes = declared(tmp_path / "declared")
    async with dev_cluster.client("bridge") as client:
        reviews = Reviews(client, name)
        tls = Tls(SelfSignedCertificate(tmp_path, name, lambda: [address]), ClientCa(lambda: client_authority(client)))
        server = KubeletServer(
            address, 0, tls=tls.current, routes=stubs(routes), authenticator=Authenticator(reviews.token),
            authorizer=Authorizer(reviews.access),
        )  # fmt: skip
        async with tls, server, asyncio.TaskGroup() as group:
            tasks = [group.create_task(server.run()), group.create_task(tls.run())]
            yield Place(name, f"https://{address}:{server.port}", routes, dev_cluster, admin)
            for task in tasks:
                task.cancel()


@pytest.fixture
async def tokens(place: Place) -> AsyncIterator[dict[str, str]]:
    made = {who: await account(place, who, rights) for who, rights in CALLERS.items()}
    try:
        for who, rights in CALLERS.items():
            for verb, subresource in rights:
                asked = (place, who, "get" if verb == "*" else verb, subresource)
                await eventually(lambda asked=asked: reviewed(*asked), f"the role of {who} in force")
        yield made
    finally:
        for who in CALLERS:
            await place.admin.delete(SERVICEACCOUNTS, "default", place.account(who))
            for resource in (CLUSTERROLES, CLUSTERROLEBINDINGS):
                await place.admin.delete(resource, None, place.account(who))


async def account(place: Place, who: str, rights: set[Right]) -> str:
    """A ServiceAccount that may do that to this one node; its token."""
    name, admin = place.account(who), place.admin
    body: dict[str, Any] = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    await admin.create(SERVICEACCOUNTS, "default", body)
    rules = [
        {"apiGroups": [""], "resources": [f"nodes/{of}"], "verbs": [verb], "resourceNames": [place.name]}
        for verb, of in rights
    ]
    body = {"apiVersion": CLUSTERROLES.api_version, "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    await admin.create(CLUSTERROLES, None, body)
    body = {
        "apiVersion": CLUSTERROLEBINDINGS.api_version, "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
    }  # fmt: skip
    await admin.create(CLUSTERROLEBINDINGS, None, body)
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = decoded(await admin.create(SERVICEACCOUNTS, "default", body, name=name, subresource="token"))
    token: str = answer["status"]["token"]
    return token


async def reviewed(place: Place, who: str, verb: str, subresource: str) -> bool:
    """Whether RBAC has taken note."""
    attributes = {"verb": verb, "resource": "nodes", "subresource": subresource, "name": place.name}
    user = f"system:serviceaccount:default:{place.account(who)}"
    review = {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }  # fmt: skip
    allowed: bool = decoded(await place.admin.create(SUBJECTACCESSREVIEWS, None, review))["status"]["allowed"]
    return allowed


SUBRESOURCE = {"stats": "stats", "metrics": "metrics", "logs": "log", "checkpoint": "checkpoint"}
OWN = {"pods": "pods", "runningpods": "pods", "healthz": "healthz", "configz": "configz"}


def may(who: str, method: str, path: str) -> bool:
    segments = path.strip("/").split("/")
    acts = segments[0] in ("exec", "attach", "portForward", "run") or segments[-1] in ("console", "vnc")
    verb = "create" if acts or method == "POST" else "get"
    subresources = {SUBRESOURCE.get(segments[0], "proxy"), OWN.get(segments[0], SUBRESOURCE.get(segments[0], "proxy"))}
    return any((one, of) in CALLERS[who] for one in (verb, "*") for of in subresources)


async def test_each_route_for_each_token(place: Place, tokens: dict[str, str]) -> None:
    for one in place.routes:
        for method in methods(one):
            found = {who: await place.ask(method, one.example, token=token) for who, token in tokens.items()}
            expected = {who: 200 if may(who, method, one.path) else 403 for who in CALLERS}
            assert found == expected, f"{method} {one.path}"
            assert await place.ask(method, one.example) == 401
            assert await place.ask(method, one.example, token=tokens["full"][:-4] + "AAAA") == 401


async def test_the_api_servers_certificate_opens_everything_and_that_of_front_proxies_nothing(place: Place) -> None:
    for one in place.routes:
        for method in methods(one):
            assert await place.ask(method, one.example, certificate="apiserver-kubelet-client") == 200
    with pytest.raises(aiohttp.ClientError):
        await place.ask("GET", "/healthz", certificate="front-proxy-client")


async def test_a_token_for_another_audience_is_nobodys(place: Place) -> None:
    await account(place, "full", CALLERS["full"])
    try:
        body = {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["elsewhere"]},
        }  # fmt: skip
        name = place.account("full")
        answer = await place.admin.create(SERVICEACCOUNTS, "default", body, name=name, subresource="token")
        assert await place.ask("GET", "/pods", token=decoded(answer)["status"]["token"]) == 401
    finally:
        await place.admin.delete(SERVICEACCOUNTS, "default", place.account("full"))
        for resource in (CLUSTERROLES, CLUSTERROLEBINDINGS):
            await place.admin.delete(resource, None, place.account("full"))
