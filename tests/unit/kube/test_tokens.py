"""Tokens of ServiceAccounts: bound to the Pod, held, and renewed before they end."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
import pytest

from kubelet_bridge.errors import Forbidden, NotFound
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.tokens import TokenRequester
from kubelet_bridge.model.snapshot import TokenWanted
from tests.support.pods import UID, pod

START = datetime(2026, 1, 1, tzinfo=UTC)


class Issuer:
    """Gives another token each time, and writes down what it was asked for."""

    def __init__(self) -> None:
        self.now = START
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.error: Exception | None = None

    async def request(self, _method: str, path: str, *, body: bytes, label: tuple[str, str]) -> bytes:
        assert label == ("create", "serviceaccounts/token")
        if self.error is not None:
            raise self.error
        spec = msgspec.json.decode(body)["spec"]
        self.asked.append((path, spec))
        ends = self.now + timedelta(seconds=spec["expirationSeconds"])
        return msgspec.json.encode({"status": {"token": f"t{len(self.asked)}", "expirationTimestamp": ends}})


def requester(issuer: Issuer) -> TokenRequester:
    return TokenRequester(cast(Client, issuer), clock=lambda: issuer.now)


async def test_a_token_is_bound_to_the_pod() -> None:
    issuer = Issuer()
    assert await requester(issuer).token(pod({"serviceAccountName": "shopper"}), TokenWanted("vault", 600)) == "t1"
    path, spec = issuer.asked[0]
    assert path == "/api/v1/namespaces/shop/serviceaccounts/shopper/token"
    assert spec["audiences"] == ["vault"]
    assert spec["boundObjectRef"] == {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": UID}


async def test_a_token_is_held_until_most_of_its_life_is_over() -> None:
    issuer = Issuer()
    tokens = requester(issuer)
    seen = []
    for minutes in (0, 47, 49, 95):
        issuer.now = START + timedelta(minutes=minutes)
        seen.append(await tokens.token(pod(), TokenWanted()))
    assert seen == ["t1", "t1", "t2", "t2"]


async def test_audiences_have_tokens_of_their_own() -> None:
    tokens = requester(Issuer())
    assert [await tokens.token(pod(), TokenWanted(one)) for one in ("a", "b", "a")] == ["t1", "t2", "t1"]


async def test_without_an_account_there_is_no_token() -> None:
    issuer = Issuer()
    issuer.error = NotFound(404, "NotFound", "serviceaccounts")
    assert await requester(issuer).token(pod(), TokenWanted()) is None
    issuer.error = Forbidden(403, "Forbidden", "no")
    with pytest.raises(Forbidden):
        await requester(issuer).token(pod(), TokenWanted())
