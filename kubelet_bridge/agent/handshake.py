"""The first words of a stream: Hello, Welcome, and whether the bridge is the one we know."""

from __future__ import annotations

import asyncio
import os
from typing import NamedTuple

from kubelet_bridge.agent.config import Seed
from kubelet_bridge.agent.connection import Connection
from kubelet_bridge.agent.credentials import Session, is_proof
from kubelet_bridge.agent.v1 import agent_pb2 as pb

PROTOCOL_VERSION = 2
ANSWER_SECONDS = 30.0


class WrongBridge(ConnectionError):
    """What answered does not know our secret, or does not keep to the protocol."""


class Welcomed(NamedTuple):
    """``session`` is a new one, to be stored before ``SessionStored`` is said; None when the one we had still holds."""

    welcome: pb.Welcome
    session: Session | None


async def introduce(connection: Connection, seed: Seed, session: Session | None, hello: pb.Hello) -> Welcomed:
    """Say Hello with the session's token, or with the boot token when there is no session.

    ``hello`` tells of the guest and its agent; who we are is filled in here.

    Raises:
        Refused: the bridge does not take the token, or us.
        WrongBridge: it cannot prove that it is the bridge.
        ConnectionError: the stream ended, or there was no answer.
    """
    nonce = os.urandom(32)
    hello.protocol_version = PROTOCOL_VERSION
    hello.pod_uid = seed.pod_uid
    hello.token_kind = pb.TOKEN_KIND_BOOT if session is None else pb.TOKEN_KIND_SESSION
    hello.token = seed.token if session is None else session.token
    hello.nonce = nonce
    await connection.send(pb.GuestMessage(hello=hello).SerializeToString())
    welcome = await _welcome(connection)
    if not is_proof(welcome.proof, seed.token if session is None else session.bridge_secret, nonce):
        raise WrongBridge("what answers at the bridge's address does not know this guest's secret")
    if session is not None:
        return Welcomed(welcome, None)
    if not welcome.session_token or not welcome.bridge_secret:
        raise WrongBridge("the bridge took the boot token and gave no session for it")
    return Welcomed(welcome, Session(welcome.session_token, welcome.bridge_secret))


async def _welcome(connection: Connection) -> pb.Welcome:
    try:
        message = await asyncio.wait_for(connection.receive(), ANSWER_SECONDS)
    except asyncio.TimeoutError:
        raise ConnectionError("the bridge does not answer") from None
    if message is None:
        raise ConnectionError("the bridge hung up")
    if message.WhichOneof("body") != "welcome":
        raise WrongBridge(f"the bridge began with {message.WhichOneof('body')}")
    return message.welcome
