"""Each route that the daemon declares for each kind of caller, through real TLS and the real gate."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from kubelet_bridge.model.access import Attributes, User
from tests.support.authority import Authority
from tests.support.declaredroutes import Declared, declared, methods, stubs
from tests.support.kubelet_endpoint import Serving, World

RIGHTS = {
    "without rights": set(),
    "stats": {("get", "stats")},
    "metrics": {("get", "metrics")},
    "reader": {("get", "proxy")},
    "operator": {("create", "proxy")},
    "full": {
        (verb, of)
        for verb in ("get", "create", "update", "patch", "delete")
        for of in ("proxy", "stats", "metrics", "log", "checkpoint", "pods", "healthz", "configz", "statusz")
    },
}
"""Bearer of a token → what RBAC lets it do to the Node."""

OF_THEIR_OWN = {"stats": "stats", "metrics": "metrics", "logs": "log", "checkpoint": "checkpoint"}
REACHES_IN = ("/exec/", "/attach/", "/portForward/", "/run/")
REACHES_IN_AT_THE_END = ("/console", "/vnc")
VERBS = {"GET": "get", "POST": "create"}


def may(who: str, method: str, path: str) -> bool:
    """The policy, said again in the words of the contract and not in those of the code."""
    if who == "anonymous":
        return False
    if who == "the API server":
        return True
    shown = path.startswith("/vms/") and path.rstrip("/").endswith(REACHES_IN_AT_THE_END)
    reaches_in = path.startswith(REACHES_IN) or shown
    subresource = OF_THEIR_OWN.get(path.split("/")[1], "proxy")
    return ("create" if reaches_in else VERBS[method], subresource) in RIGHTS[who]


@asynccontextmanager
async def callers(world: World) -> AsyncIterator[dict[str, Callable[..., aiohttp.client._RequestContextManager]]]:
    async with AsyncExitStack() as stack:
        plain = await stack.enter_async_context(world.client())
        certified = await stack.enter_async_context(world.client(world.certificate("apiserver")))

        def with_token(token: str) -> Callable[..., aiohttp.client._RequestContextManager]:
            headers = {"Authorization": f"Bearer {token}"}
            return lambda method, url: plain.request(method, url, headers=headers, allow_redirects=False)

        yield {
            "anonymous": lambda method, url: plain.request(method, url, allow_redirects=False),
            "the API server": lambda method, url: certified.request(method, url, allow_redirects=False),
            **{name: with_token(name) for name in RIGHTS},
        }


@pytest.fixture
def routes(tmp_path: Path) -> list[Declared]:
    return declared(tmp_path / "state")


async def reviewed_token(token: str) -> User | None:
    return User(name=token) if token in RIGHTS else None


async def reviewed_access(user: User, wanted: Attributes) -> bool:
    return user.name == "apiserver" or (wanted.verb, wanted.subresource) in RIGHTS[user.name]


async def test_each_route_for_each_caller(serving: Serving, routes: list[Declared]) -> None:
    served = serving(only=stubs(routes), token=reviewed_token, access=reviewed_access)
    async with served as world, callers(world) as every:
        for one in routes:
            for method in methods(one):
                for who, ask in every.items():
                    async with ask(method, world.url(one.example)) as response:
                        text = await response.text()
                        found = response.status
                    refused = 401 if who == "anonymous" else 403
                    expected = 200 if may(who, method, one.path) else refused
                    assert found == expected, f"{who}: {method} {one.path}: {found} {text!r}"
                    assert found != 200 or text == one.path


async def test_no_route_is_reached_with_the_certificate_of_another_authority(
    serving: Serving, routes: list[Declared]
) -> None:
    async with serving(only=stubs(routes), token=reviewed_token, access=reviewed_access) as world:
        stranger = Authority("client-ca").client(world.directory, "apiserver", "system:masters")
        async with world.client(stranger) as session:
            for one in routes:
                with pytest.raises(aiohttp.ClientError):
                    await session.request(methods(one)[0], world.url(one.example))


def test_what_a_kubelet_has_is_declared(routes: list[Declared]) -> None:
    """The contract's table (Kubernetes' pkg/kubelet/server/server.go)."""
    found: dict[str, set[str]] = {}
    for one in routes:
        found.setdefault(one.path.rstrip("/"), set()).add(one.method)
    both = {"GET", "POST"}
    expected = {
        "/healthz": {"GET"}, "/healthz/{name}": {"GET"}, "/pods": {"GET"}, "/runningpods": {"GET"},
        "/containerLogs/{namespace}/{pod}/{container}": {"GET"}, "/configz": {"GET"}, "/stats/summary": both,
        "/metrics": {"GET"}, "/metrics/resource": {"GET"}, "/metrics/cadvisor": {"GET"}, "/metrics/probes": {"GET"},
        "/exec/{namespace}/{pod}/{container}": both, "/exec/{namespace}/{pod}/{uid}/{container}": both,
        "/attach/{namespace}/{pod}/{container}": both, "/attach/{namespace}/{pod}/{uid}/{container}": both,
        "/portForward/{namespace}/{pod}": both, "/portForward/{namespace}/{pod}/{uid}": both,
        "/run/{namespace}/{pod}/{container}": {"POST"}, "/run/{namespace}/{pod}/{uid}/{container}": {"POST"},
        "/checkpoint/{namespace}/{pod}/{container}": {"POST"}, "/logs": {"*"},
    }  # fmt: skip
    assert {path: found.get(path) for path in expected} == expected
