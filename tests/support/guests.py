"""A guest server with everything real but the cluster, and an agent that says what a test wants it to."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.errors import Transient
from kubelet_bridge.guest.authority import Authority
from kubelet_bridge.guest.handshake import PROTOCOL_VERSION
from kubelet_bridge.guest.limits import FrontLimits, SessionLimits
from kubelet_bridge.guest.logdisk import LogLimits
from kubelet_bridge.guest.logs import LogStore
from kubelet_bridge.guest.ports import Uncounted
from kubelet_bridge.guest.registry import GuestRegistry
from kubelet_bridge.guest.server import METHOD, GuestServer
from kubelet_bridge.guest.session import Parts
from kubelet_bridge.model import guesttoken
from kubelet_bridge.model.guestrecord import GuestRecord
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.snapshot import PodEvent
from kubelet_bridge.model.usage import Sample
from kubelet_bridge.store.guests import GuestStore
from kubelet_bridge.translate.config import GuestAccess

NONCE = b"n" * 16


def pod_key(name: str) -> PodKey:
    return PodKey("default", name, f"uid-{name}")


async def soon(check: Callable[[], bool], what: str, *, seconds: float = 10.0) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not check():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:.0f} s: {what}") from None


@asynccontextmanager
async def running(part: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run ``part`` beside the block."""
    task = asyncio.get_running_loop().create_task(part)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


class MemoryRecords:
    """Records in memory, which can be made to refuse."""

    def __init__(self) -> None:
        self.kept: dict[str, GuestRecord] = {}
        self.refuse = False

    def get(self, uid: str) -> GuestRecord | None:
        return self.kept.get(uid)

    latest = get

    def all(self) -> list[GuestRecord]:
        return list(self.kept.values())

    async def save(self, record: GuestRecord) -> None:
        await asyncio.sleep(0)
        if self.refuse:
            raise Transient("the disk is full")
        self.kept[record.uid] = record

    async def delete(self, uid: str) -> None:
        await asyncio.sleep(0)
        if self.refuse:
            raise Transient("the disk is full")
        self.kept.pop(uid, None)


class Counted(Uncounted):
    def __init__(self) -> None:
        self.handshakes: list[str] = []
        self.refusals: list[str] = []
        self.logged = 0

    def handshake(self, result: str) -> None:
        self.handshakes.append(result)

    def refused(self, reason: str) -> None:
        self.refusals.append(reason)

    def log_bytes(self, count: int) -> None:
        self.logged += count


class Node:
    """The bridge's side: a registry with its server, and what they told the rest of the bridge."""

    def __init__(
        self, directory: Path, records: MemoryRecords | GuestStore, limits: SessionLimits | None = None,
        authority: Authority | None = None, log_limits: LogLimits | None = None,
    ) -> None:  # fmt: skip
        self.authority = authority or Authority.create("node", now=datetime.now(UTC))
        self.records, self.counters = records, Counted()
        self.enqueued: list[PodKey] = []
        self.events: list[tuple[PodKey, PodEvent]] = []
        self.samples: list[tuple[PodKey, Sample]] = []
        self.manifests: dict[str, pb.PodManifest] = {}
        self.logs = LogStore(directory / "logs", log_limits)
        self.limits = limits = limits or SessionLimits()
        parts = Parts(
            limits=limits, logs=self.logs, manifest=self._manifest, counters=self.counters, clock=time.monotonic,
            record_event=lambda key, event: self.events.append((key, event)), now=lambda: datetime.now(UTC),
            record_usage=lambda key, sample: self.samples.append((key, sample)),
        )  # fmt: skip
        access = GuestAccess(
            address="", files_url="https://files.test:1", ca=self.authority.certificate.decode(),
            key=self.authority.key, agent_version="1", agent_digest="d" * 64, agent_size=5,
        )  # fmt: skip
        self.registry = GuestRegistry(records, parts, enqueue=self.enqueued.append)
        self.registry.open(access)

    async def _manifest(self, key: PodKey) -> pb.PodManifest | None:
        return self.manifests.get(key.uid)

    @asynccontextmanager
    async def serving(self, front: FrontLimits | None = None) -> AsyncIterator["Node"]:
        certificate = self.authority.issue(now=datetime.now(UTC))
        server = GuestServer(
            "127.0.0.1", 0, registry=self.registry, certificate=lambda: certificate, counters=self.counters,
            clock=time.monotonic, limits=self.limits, front_limits=front, grace=0.1,
        )  # fmt: skip
        async with self.logs, server:
            self.server, self.port = server, server.port
            async with running(self.logs.run()), running(server.run()):
                yield self

    def boot_token(self, key: PodKey) -> str:
        return guesttoken.boot_token(self.authority.key, key.uid)

    def agent(self, key: PodKey) -> "Agent":
        return Agent(self.port, self.authority.certificate, key)


class Agent:
    """One connection of a guest, and the stream on it."""

    def __init__(self, port: int, ca: bytes, key: PodKey) -> None:
        self.key = key
        self._channel = grpc.aio.secure_channel(
            f"127.0.0.1:{port}", grpc.ssl_channel_credentials(ca),
            options=[
                ("grpc.ssl_target_name_override", guesttoken.SERVER_NAME), ("grpc.use_local_subchannel_pool", 1),
                ("grpc.max_receive_message_length", -1), ("grpc.enable_retries", 0),
            ],
        )  # fmt: skip
        self.call = self.stream()
        self.welcome = pb.Welcome()

    def stream(self) -> "grpc.aio.StreamStreamCall[bytes, bytes]":
        return self._channel.stream_stream(METHOD)()

    async def __aenter__(self) -> "Agent":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.call.cancel()
        await self._channel.close()

    async def raw(self, data: bytes) -> None:
        await self.call.write(data)

    async def say(self, **body: object) -> None:
        await self.raw(pb.GuestMessage(**body).SerializeToString())  # type: ignore[arg-type]

    async def hear(self) -> pb.BridgeMessage:
        try:
            raw = await self.call.read()
        except grpc.aio.AioRpcError as error:
            raise EOFError(error.code()) from None
        if not isinstance(raw, bytes):
            raise EOFError(await self.call.code())
        return pb.BridgeMessage.FromString(raw)

    async def hear_of(self, body: str) -> pb.BridgeMessage:
        """The next message with this body; others are passed over."""
        async with asyncio.timeout(15):
            while (message := await self.hear()).WhichOneof("body") != body:
                pass
        return message

    async def introduce(self, token: str, *, boot: bool = True, **more: object) -> pb.Welcome:
        kind = pb.TOKEN_KIND_BOOT if boot else pb.TOKEN_KIND_SESSION
        hello = pb.Hello(
            **{
                "protocol_version": PROTOCOL_VERSION, "pod_uid": self.key.uid, "token_kind": kind, "token": token,
                "nonce": NONCE, "agent_version": "1", "boot_id": "b", **more,
            }  # type: ignore[arg-type]
        )  # fmt: skip
        await self.say(hello=hello)
        self.welcome = (await self.hear_of("welcome")).welcome
        return self.welcome

    async def settle(self, node: Node, **more: object) -> str:
        """Introduce itself with the boot token, confirm, and return the session token."""
        welcome = await self.introduce(node.boot_token(self.key), **more)
        await self.say(session_stored=pb.SessionStored())
        await soon(
            lambda: bool((found := node.records.get(self.key.uid)) and found.session_hash), "the session confirmed"
        )
        return welcome.session_token

    async def refusal(self) -> grpc.StatusCode:
        """With which status the stream has ended, once it has."""
        async with asyncio.timeout(15):
            return await self.call.code()
