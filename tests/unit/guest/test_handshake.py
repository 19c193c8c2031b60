"""Who may come in: the rules alone, and over a real connection."""

import grpc
import pytest

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.guest.handshake import (
    Known,
    Refused,
    Standing,
    Welcomed,
    confirmed,
    decide,
    handed_out,
    malformed,
)
from kubelet_bridge.model import guesttoken
from kubelet_bridge.model.guestrecord import GuestRecord
from tests.support.guests import NONCE, Node, pod_key

KEY = b"k" * 32
RECORD = GuestRecord(uid="u", namespace="default", name="web")


def hello(token: str, *, boot: bool = True, uid: str = "u") -> pb.Hello:
    kind = pb.TOKEN_KIND_BOOT if boot else pb.TOKEN_KIND_SESSION
    return pb.Hello(protocol_version=1, pod_uid=uid, token_kind=kind, token=token, nonce=NONCE)


def expected(record: GuestRecord | None = None, *, boot: str = "vmi-1") -> Known:
    return Known(Standing.EXPECTED, boot, record)


def result(decided: Welcomed | Refused) -> str:
    return decided.status if isinstance(decided, Refused) else "welcome"


def test_a_boot_token_is_good_until_its_exchange_is_confirmed() -> None:
    token = guesttoken.boot_token(KEY, "u")
    assert result(decide(hello(token), expected(), KEY)) == "welcome"
    pending = handed_out(RECORD, session_hash="h", boot="vmi-1")
    assert result(decide(hello(token), expected(pending), KEY)) == "welcome"
    used = confirmed(pending, "h")
    assert result(decide(hello(token), expected(used), KEY)) == "PERMISSION_DENIED"
    assert result(decide(hello(token), expected(used, boot="vmi-2"), KEY)) == "welcome"


@pytest.mark.parametrize(
    ("token", "known", "status"),
    [
        (guesttoken.boot_token(KEY, "other"), expected(), "UNAUTHENTICATED"),
        (guesttoken.boot_token(b"x" * 32, "u"), expected(), "UNAUTHENTICATED"),
        ("", expected(), "UNAUTHENTICATED"),
        (guesttoken.boot_token(KEY, "other"), Known(Standing.GONE), "UNAUTHENTICATED"),
        (guesttoken.boot_token(KEY, "u"), Known(Standing.GONE), "PERMISSION_DENIED"),
        (guesttoken.boot_token(KEY, "u"), Known(Standing.UNKNOWN), "UNAVAILABLE"),
        (guesttoken.boot_token(KEY, "u"), expected(boot=""), "UNAVAILABLE"),
    ],
)
def test_boot_tokens_that_are_refused(token: str, known: Known, status: str) -> None:
    assert result(decide(hello(token), known, KEY)) == status


def test_session_tokens() -> None:
    mine, other = guesttoken.token_hash("mine"), guesttoken.token_hash("other")
    settled = confirmed(handed_out(RECORD, session_hash=mine, boot="vmi-1"), mine)
    assert decide(hello("mine", boot=False), expected(settled), KEY) == Welcomed(boot_token=False, session_hash=mine)
    renewed = handed_out(settled, session_hash=other, boot="vmi-2")
    first, second = (decide(hello(token, boot=False), expected(renewed), KEY) for token in ("mine", "other"))
    assert (first, second) == (
        Welcomed(boot_token=False, session_hash=mine), Welcomed(boot_token=False, promote=True, session_hash=other),
    )  # fmt: skip
    assert confirmed(renewed, other).used_boot == "vmi-2"
    for known in (expected(), Known(Standing.GONE, "", settled), Known(Standing.UNKNOWN)):
        assert result(decide(hello("mine", boot=False), known, KEY)) == "UNAUTHENTICATED"
    assert result(decide(hello("stolen", boot=False), expected(settled), KEY)) == "UNAUTHENTICATED"


def test_confirming_another_token_changes_nothing() -> None:
    pending = handed_out(RECORD, session_hash="new", boot="vmi-1")
    assert confirmed(pending, "old") == pending
    assert confirmed(RECORD, "") == RECORD


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"pod_uid": ""}, "INVALID_ARGUMENT"),
        ({"pod_uid": "u" * 65}, "INVALID_ARGUMENT"),
        ({"token": "t" * 257}, "INVALID_ARGUMENT"),
        ({"nonce": b"short"}, "INVALID_ARGUMENT"),
        ({"nonce": b"n" * 257}, "INVALID_ARGUMENT"),
        ({"protocol_version": 0}, "FAILED_PRECONDITION"),
    ],
)
def test_malformed_hellos(change: dict[str, object], status: str) -> None:
    bad = hello("token")
    for name, value in change.items():
        setattr(bad, name, value)
    refused = malformed(bad)
    assert refused is not None
    assert refused.status == status


async def test_boot_token_then_session_token(node: Node) -> None:
    key = pod_key("web")
    node.registry.expect(key, boot="vmi-1")
    async with node.agent(key) as agent:
        boot_token = node.boot_token(key)
        token = await agent.settle(node)
        assert agent.welcome.proof == guesttoken.proof(boot_token, NONCE)
        secret = agent.welcome.bridge_secret
        assert agent.welcome.agent.url == f"https://files.test:1/agent/{'d' * 64}.pyz"
    async with node.agent(key) as agent:
        welcome = await agent.introduce(token, boot=False)
        assert welcome.session_token == ""
        assert welcome.proof == guesttoken.proof(secret, NONCE)
    async with node.agent(key) as replay:
        with pytest.raises(EOFError):
            await replay.introduce(boot_token)
        assert await replay.refusal() == grpc.StatusCode.PERMISSION_DENIED
    record = node.records.get(key.uid)
    assert record is not None
    assert token not in repr(record)
    node.registry.expect(key, boot="vmi-2")
    async with node.agent(key) as reborn:
        assert (await reborn.introduce(boot_token)).session_token not in ("", token)


async def test_the_newer_stream_takes_over(node: Node) -> None:
    key = pod_key("web")
    node.registry.expect(key, boot="vmi-1")
    async with node.agent(key) as older, node.agent(key) as newer:
        token = await older.settle(node)
        await newer.introduce(token, boot=False)
        assert await older.refusal() == grpc.StatusCode.ALREADY_EXISTS
        await newer.say(heartbeat=pb.Heartbeat(time=7))
        assert (await newer.hear_of("heartbeat_ack")).heartbeat_ack.time == 7
        found = node.registry.get(key.uid)
        assert found is not None
        assert found.connected


async def test_a_forgotten_pod(node: Node) -> None:
    key = pod_key("web")
    node.registry.expect(key, boot="vmi-1")
    async with node.agent(key) as agent:
        token = await agent.settle(node)
        await node.registry.forget(key.uid)
        assert await agent.refusal() == grpc.StatusCode.PERMISSION_DENIED
    node.registry.expect(key, boot="vmi-1")  # a late word of the sync loop
    assert node.registry.get(key.uid) is None
    for given, boot in ((node.boot_token(key), True), (token, False)):
        async with node.agent(key) as late:
            with pytest.raises(EOFError):
                await late.introduce(given, boot=boot)
            status = grpc.StatusCode.PERMISSION_DENIED if boot else grpc.StatusCode.UNAUTHENTICATED
            assert await late.refusal() == status


async def test_a_new_certificate_is_taken_up_while_serving(node: Node) -> None:
    key = pod_key("web")
    node.registry.expect(key, boot="vmi-1")
    async with node.agent(key) as agent:
        token = await agent.settle(node)
        await node.server.renew()
        assert await agent.refusal() == grpc.StatusCode.UNAVAILABLE
    async with node.agent(key) as agent:
        await agent.introduce(token, boot=False)
