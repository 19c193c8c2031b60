"""What the API server is asked about callers, and what is made of its answer."""

from typing import Any, cast

import msgspec
import pytest

from kubelet_bridge.errors import NotFound
from kubelet_bridge.kube.certificates import client_authority
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.reviews import Reviews
from kubelet_bridge.model.access import Attributes, User
from kubelet_bridge.model.resources import Resource


class Reviewer:
    """Answers ``status``, and writes down the question."""

    def __init__(self, **status: Any) -> None:
        self.status = status
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def request(self, method: str, path: str, *, body: bytes, **_: Any) -> bytes:
        self.asked.append((f"{method} {path}", msgspec.json.decode(body)["spec"]))
        return msgspec.json.encode({"status": self.status})


def reviews(reviewer: Reviewer) -> Reviews:
    return Reviews(cast(Client, reviewer), "vnode")


USER = User(name="u", uid="7", groups=("g", "system:authenticated"), extra={"scopes": ("a", "b")})
WANTED = Attributes("create", "proxy")


async def test_all_that_is_known_of_a_caller_is_passed_on() -> None:
    reviewer = Reviewer(allowed=True)
    assert await reviews(reviewer).access(USER, WANTED)
    assert reviewer.asked == [
        (
            "POST /apis/authorization.k8s.io/v1/subjectaccessreviews",
            {
                "user": "u", "uid": "7", "groups": ["g", "system:authenticated"], "extra": {"scopes": ["a", "b"]},
                "resourceAttributes": {
                    "verb": "create", "version": "v1", "resource": "nodes", "subresource": "proxy", "name": "vnode",
                },
            },
        )
    ]  # fmt: skip


@pytest.mark.parametrize("status", [{}, {"allowed": False}, {"allowed": True, "denied": True}, {"denied": True}])
async def test_what_is_not_clearly_allowed_is_not(status: dict[str, bool]) -> None:
    assert not await reviews(Reviewer(**status)).access(USER, WANTED)


async def test_a_token_names_its_user_with_everything_about_it() -> None:
    user = {"username": "u", "uid": "7", "groups": ["g", "system:authenticated"], "extra": {"scopes": ["a", "b"]}}
    reviewer = Reviewer(authenticated=True, user=user)
    assert await reviews(reviewer).token("t0ken") == USER
    assert reviewer.asked == [("POST /apis/authentication.k8s.io/v1/tokenreviews", {"token": "t0ken"})]


@pytest.mark.parametrize(
    "status", [{}, {"authenticated": False, "user": {"username": "u"}}, {"authenticated": True, "user": {}}]
)
async def test_a_token_of_nobody(status: dict[str, Any]) -> None:
    assert await reviews(Reviewer(**status)).token("t0ken") is None


class ConfigMaps:
    def __init__(self, **data: str) -> None:
        self.data = data

    async def get(self, _resource: Resource, namespace: str, name: str) -> bytes:
        assert (namespace, name) == ("kube-system", "extension-apiserver-authentication")
        return msgspec.json.encode({"data": self.data})


async def test_clients_are_judged_by_their_own_authority_and_never_by_that_of_front_proxies() -> None:
    data = {"client-ca-file": "CLIENTS", "requestheader-client-ca-file": "PROXIES"}
    assert await client_authority(cast(Client, ConfigMaps(**data))) == b"CLIENTS"
    del data["client-ca-file"]
    with pytest.raises(NotFound):
        await client_authority(cast(Client, ConfigMaps(**data)))
