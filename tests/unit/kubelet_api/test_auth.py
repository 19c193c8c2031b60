from collections.abc import Mapping
from typing import Any

import pytest

from kubelet_bridge.errors import ApiUnavailable, Forbidden
from kubelet_bridge.kubelet_api.auth import (
    AUTHENTICATED,
    Authenticator,
    Authorizer,
    ReviewUnavailable,
    bearer_token,
    certificate_user,
    socket_token,
)
from kubelet_bridge.model.access import Attributes, User

NOT_AFTER = "Jan  1 00:00:00 2030 GMT"
BEFORE, AFTER = 1_800_000_000.0, 1_900_000_000.0


def certificate(*subject: tuple[str, str]) -> Mapping[str, Any]:
    return {"subject": tuple((pair,) for pair in subject), "notAfter": NOT_AFTER}


def test_a_certificate_names_user_and_groups() -> None:
    found = certificate_user(
        certificate(("organizationName", "system:masters"), ("organizationName", "ops"), ("commonName", "admin")),
        BEFORE,
    )
    assert found == User(name="admin", groups=("system:masters", "ops", AUTHENTICATED))


def test_several_names_in_one_set_are_all_read() -> None:
    subject = {"subject": ((("organizationName", "ops"), ("commonName", "admin")),), "notAfter": NOT_AFTER}
    assert certificate_user(subject, BEFORE) == User(name="admin", groups=("ops", AUTHENTICATED))


@pytest.mark.parametrize(
    ("found", "now"),
    [
        (None, BEFORE),
        ({}, BEFORE),
        (certificate(("organizationName", "system:masters")), BEFORE),
        (certificate(("commonName", "")), BEFORE),
        (certificate(("commonName", "admin")), AFTER),
    ],
)
def test_no_certificate_no_name_or_an_end_that_has_come_is_nobody(found: Mapping[str, Any] | None, now: float) -> None:
    assert certificate_user(found, now) is None


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (None, None), ("", None), ("Bearer", None), ("Bearer ", None), ("Basic YTpi", None), ("Bearer abc", "abc"),
        ("bearer abc", "abc"), ("  Bearer   abc ", "abc"), ("Bearer \udcff", None), ("Bearer é", "é"),
    ],
)  # fmt: skip
def test_a_token_is_read_from_the_header(header: str | None, token: str | None) -> None:
    assert bearer_token(header) == token


TOKEN = "base64url.bearer.authorization.k8s.io.YS5iLmM-"


@pytest.mark.parametrize(
    ("offered", "token"),
    [
        (None, None), ("", None), ("v4.channel.k8s.io", None), (f"{TOKEN}, v4.channel.k8s.io", "a.b.c>"),
        (f"v4.channel.k8s.io,{TOKEN}", "a.b.c>"), (TOKEN, None), (f"{TOKEN},{TOKEN},v4.channel.k8s.io", None),
        ("base64url.bearer.authorization.k8s.io.,x", None), ("base64url.bearer.authorization.k8s.io.a,x", None),
        ("base64url.bearer.authorization.k8s.io.!!!!,x", None), ("base64url.bearer.authorization.k8s.io._w,x", None),
    ],
)  # fmt: skip
def test_a_token_is_read_from_the_subprotocols_of_a_websocket(offered: str | None, token: str | None) -> None:
    assert socket_token(offered) == token


class Tokens:
    def __init__(self) -> None:
        self.known = {"good": User(name="scraper", groups=(AUTHENTICATED,))}
        self.asked: list[str] = []
        self.down = False

    async def __call__(self, token: str) -> User | None:
        self.asked.append(token)
        if self.down:
            raise ApiUnavailable(0, "Unreachable", "connection refused")
        return self.known.get(token)


async def test_a_token_is_reviewed_once_and_never_kept_in_clear() -> None:
    tokens = Tokens()
    auth = Authenticator(tokens)
    for _ in range(3):
        assert await auth.authenticate(None, "Bearer good") == tokens.known["good"]
        assert await auth.authenticate(None, "Bearer bad") is None
    assert sorted(tokens.asked) == ["bad", "good"]
    assert "good" not in repr(vars(auth._tokens))


async def test_the_certificate_comes_first() -> None:
    tokens = Tokens()
    auth = Authenticator(tokens, wall_clock=lambda: BEFORE)
    user = await auth.authenticate(certificate(("commonName", "admin")), "Bearer good")
    assert user is not None
    assert (user.name, tokens.asked) == ("admin", [])


async def test_without_credentials_nobody() -> None:
    assert await Authenticator(Tokens()).authenticate(None, None) is None


async def test_a_kept_answer_outlives_the_api_server_and_a_new_token_is_refused() -> None:
    tokens = Tokens()
    auth = Authenticator(tokens)
    await auth.authenticate(None, "Bearer good")
    tokens.down = True
    assert await auth.authenticate(None, "Bearer good") == tokens.known["good"]
    with pytest.raises(ReviewUnavailable):
        await auth.authenticate(None, "Bearer other")


class Access:
    def __init__(self, *rights: tuple[str, str, str]) -> None:
        self.rights = set(rights)
        self.asked: list[tuple[str, str, str]] = []
        self.failure: Exception | None = None

    async def __call__(self, user: User, wanted: Attributes) -> bool:
        question = (user.name, wanted.verb, wanted.subresource)
        self.asked.append(question)
        if self.failure is not None:
            raise self.failure
        return question in self.rights


PODS = [Attributes("get", "pods"), Attributes("get", "proxy")]


async def test_the_first_alternative_that_is_allowed_wins() -> None:
    access = Access(("a", "get", "pods"), ("b", "get", "proxy"))
    authorizer = Authorizer(access)
    assert await authorizer.allowed(User(name="a"), PODS)
    assert await authorizer.allowed(User(name="b"), PODS)
    assert not await authorizer.allowed(User(name="c"), PODS)
    assert access.asked == [
        ("a", "get", "pods"), ("b", "get", "pods"), ("b", "get", "proxy"), ("c", "get", "pods"), ("c", "get", "proxy"),
    ]  # fmt: skip


async def test_what_is_known_to_be_allowed_asks_nobody_even_where_a_refusal_has_ended() -> None:
    """``pods`` is denied for half a minute and ``proxy`` allowed for five: an outage in between shuts nobody out."""
    access = Access(("b", "get", "proxy"))
    authorizer = Authorizer(access)
    assert await authorizer.allowed(User(name="b"), PODS[1:])
    access.failure = ApiUnavailable(0, "Unreachable", "down")
    assert await authorizer.allowed(User(name="b"), PODS)
    assert access.asked == [("b", "get", "proxy")]


async def test_same_name_with_other_groups_is_another_question() -> None:
    access = Access()
    authorizer = Authorizer(access)
    await authorizer.allowed(User(name="a"), PODS[:1])
    await authorizer.allowed(User(name="a", groups=("ops",)), PODS[:1])
    await authorizer.allowed(User(name="a", extra={"scopes": ("x",)}), PODS[:1])
    await authorizer.allowed(User(name="a"), PODS[:1])
    assert len(access.asked) == 3


@pytest.mark.parametrize("failure", [ApiUnavailable(0, "Unreachable", "down"), Forbidden(403, "Forbidden", "rbac")])
async def test_when_nobody_can_be_asked_it_is_refused(failure: Exception) -> None:
    access = Access(("a", "get", "pods"))
    authorizer = Authorizer(access)
    assert await authorizer.allowed(User(name="a"), PODS)
    access.failure = failure
    assert await authorizer.allowed(User(name="a"), PODS)
    with pytest.raises(ReviewUnavailable):
        await authorizer.allowed(User(name="b"), PODS)
