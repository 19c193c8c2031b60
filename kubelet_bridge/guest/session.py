"""One connected guest: what it says is taken in, what is wanted of it is sent, until either side has enough."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec
import structlog
from google.protobuf.message import DecodeError

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.errors import Transient
from kubelet_bridge.guest import convert
from kubelet_bridge.guest.ending import Overrun, SessionEnd, Status
from kubelet_bridge.guest.handshake import confirmed
from kubelet_bridge.guest.limits import SessionLimits, TokenBucket
from kubelet_bridge.guest.logpump import LogPump
from kubelet_bridge.guest.logs import LogStore
from kubelet_bridge.guest.manifests import ManifestSender
from kubelet_bridge.guest.outbox import Outbox
from kubelet_bridge.guest.ports import Counters, ManifestSource, RecordEvent, RecordUsage
from kubelet_bridge.guest.record import RecordKeeper
from kubelet_bridge.guest.reports import ReportKeeper
from kubelet_bridge.guest.requests import Requests
from kubelet_bridge.guest.streams import GuestStream, StreamTable
from kubelet_bridge.model.guest import GuestFacts
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.usage import Sample

log = structlog.get_logger(__name__)

_RECORD_COST = 64
"""Bytes that a log record counts for beside its own: the shortest take longest to write."""
_STREAM_BODIES = frozenset({"stream_data", "stream_window", "stream_opened", "stream_closed"})


class Wire(Protocol):
    """One stream's messages, as bytes."""

    async def read(self) -> bytes | None:
        """The next; None when the guest says nothing more."""

    async def write(self, message: bytes) -> None:
        """Returns when it was taken."""


class Parts(msgspec.Struct, frozen=True):
    """What every session is made with; ``clock`` only grows, ``now`` is the time of day."""

    limits: SessionLimits
    logs: LogStore
    manifest: ManifestSource
    record_event: RecordEvent
    record_usage: RecordUsage
    counters: Counters
    clock: Callable[[], float]
    now: Callable[[], datetime]


class GuestSession:
    """Made by the registry for a guest that was welcomed; ``run`` is its life.

    Attributes:
        boot: uid of the VMI it was welcomed in; empty when that was not known.
        session_hash: of the token it has, or has just been given.
        facts: what it says of itself and its operating system.
        stopped: it said that all its containers have ended.
    """

    def __init__(
        self, key: PodKey, boot: str, facts: GuestFacts, record: RecordKeeper, parts: Parts, *, session_hash: str,
        outdated: bool, changed: Callable[[], None],
    ) -> None:  # fmt: skip
        self.key, self.boot, self.facts, self.session_hash, self.outdated = key, boot, facts, session_hash, outdated
        self.stopped = False
        self._limits, self._parts, self._record, self._changed = parts.limits, parts, record, changed
        self._outbox = Outbox(parts.limits.outbox_bytes)
        self._streams = StreamTable(self._outbox, window=parts.limits.window, limit=parts.limits.streams)
        self._probes = Requests[pb.ProbeResult](self._outbox)
        self._hooks = Requests[pb.HookResult](self._outbox)
        self._logs = LogPump(key.uid, parts.logs, self._outbox, parts.counters)
        self._reports = ReportKeeper(record, self._outbox, changed, parts.now)
        self._manifest = ManifestSender(key, parts.manifest, self._outbox)
        self._trusted = asyncio.Event()
        self._ending: asyncio.Future[SessionEnd] = asyncio.get_running_loop().create_future()
        self._messages = TokenBucket(parts.limits.messages, parts.clock)
        self._pieces = TokenBucket(parts.limits.pieces, parts.clock)
        self._bytes = TokenBucket(parts.limits.bytes, parts.clock)
        self._events = TokenBucket(parts.limits.events, parts.clock)

    # What others want of the guest.

    def trust(self) -> None:
        """It keeps its session token: now it may know what its Pod is made of."""
        self._trusted.set()

    def welcome(self, welcome: pb.Welcome) -> None:
        """The first message."""
        self._outbox.post(pb.BridgeMessage(welcome=welcome))

    def refresh(self) -> None:
        """Its manifest may have changed."""
        self._manifest.refresh()

    def shut_down(self, *, grace: int, reason: str) -> None:
        """Have it stop its containers."""
        message = pb.Shutdown(grace_seconds=max(0, grace), reason=reason)
        self._outbox.post(pb.BridgeMessage(shutdown=message), key="shutdown")

    def end(self, status: Status, message: str) -> None:
        """End the stream; the first reason given counts."""
        if not self._ending.done():
            self._ending.set_result(SessionEnd(status, message))

    async def exec(
        self, container: str, command: Sequence[str], *, stdin: bool = False, tty: bool = False,
        size: tuple[int, int] = (0, 0),
    ) -> GuestStream:  # fmt: skip
        """Run a command in a container (empty: on the guest's own system). ``size`` is columns and rows.

        Raises:
            Transient: the guest is not connected, or has too many streams open. That it cannot run is the stream's end.
        """
        request = pb.ExecStream(container=container, command=command, stdin=stdin, tty=tty, size=_size(size))
        return await self._streams.open(pb.StreamOpen(exec=request))

    async def attach(
        self, container: str, *, stdin: bool = False, tty: bool = False, size: tuple[int, int] = (0, 0)
    ) -> GuestStream:
        """Take part in a container's own input and output. Raises what ``exec`` does."""
        request = pb.AttachStream(container=container, stdin=stdin, tty=tty, size=_size(size))
        return await self._streams.open(pb.StreamOpen(attach=request))

    async def forward(self, port: int) -> GuestStream:
        """A connection to a port on the guest's loopback; ``opened`` tells when it stands. Raises as ``exec``."""
        stream = await self._streams.open(pb.StreamOpen(forward=pb.ForwardStream(port=port)))
        if self.outdated:  # its agent does not tell
            stream.on_opened()
        return stream

    async def probe(self, container: str, handler: pb.Handler, *, seconds: int) -> pb.ProbeResult:
        """Probe once, now.

        Raises:
            Transient: no answer (``GuestTimeout``, ``GuestDisconnected``).
        """
        id_ = self._probes.next_id()
        request = pb.ProbeRequest(id=id_, container=container, handler=handler, timeout_seconds=seconds)
        return await self._probes.ask(id_, pb.BridgeMessage(probe_request=request), seconds=seconds)

    async def run_hook(self, name: str, command: Sequence[str], *, seconds: int) -> pb.HookResult:
        """Run a command of the platform's as root. Raises what ``probe`` does."""
        id_ = self._hooks.next_id()
        request = pb.RunHook(id=id_, name=name, command=command, timeout_seconds=seconds)
        return await self._hooks.ask(id_, pb.BridgeMessage(run_hook=request), seconds=seconds)

    # Its life.

    async def run(self, wire: Wire) -> SessionEnd:
        """Until the stream is over; how it ended."""
        self._reports.facts(self.facts)
        ended: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for name, part in (
                    ("read", self._read(wire)), ("write", self._write(wire)), ("end", self._end_when_asked()),
                    ("logs", self._logs.run()), ("reports", self._reports.run()), ("manifest", self._keep_informed()),
                ):  # fmt: skip
                    group.create_task(part, name=f"guest {self.key}: {name}")
        except* SessionEnd as group_of_ends:
            first: BaseException = group_of_ends
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            ended = first
        finally:
            self._outbox.close()
            self._streams.close()
            self._probes.close()
            self._hooks.close()
        if not isinstance(ended, SessionEnd):
            raise AssertionError("a session's tasks have ended without a word")
        return ended

    async def _end_when_asked(self) -> None:
        raise await self._ending

    async def _keep_informed(self) -> None:
        await self._trusted.wait()
        await self._manifest.run()

    async def _write(self, wire: Wire) -> None:
        while True:
            message = await self._outbox.get()
            try:
                async with asyncio.timeout(self._limits.write_seconds):
                    await wire.write(message.SerializeToString())
            except TimeoutError as error:
                raise SessionEnd(Status.DEADLINE_EXCEEDED, "the guest reads too slowly") from error

    async def _read(self, wire: Wire) -> None:
        while True:
            try:
                async with asyncio.timeout(self._limits.silence_seconds):
                    raw = await wire.read()
            except TimeoutError as error:
                raise SessionEnd(Status.DEADLINE_EXCEEDED, "nothing was heard of the guest") from error
            if raw is None:
                raise SessionEnd(Status.OK, "the guest ended the stream")
            await self._take(raw)

    async def _take(self, raw: bytes) -> None:
        try:
            message = pb.GuestMessage.FromString(raw)
        except DecodeError as error:
            raise SessionEnd(Status.INVALID_ARGUMENT, "not a message of this protocol") from error
        body = message.WhichOneof("body")
        streamed = body in _STREAM_BODIES
        cost = len(raw) + _RECORD_COST * len(message.logs.records)
        delay = self._pieces.take() if streamed else max(self._messages.take(), self._bytes.take(cost))
        try:
            await self._obey(body, message, len(raw))
        except Overrun as error:
            self._parts.counters.refused("overrun")
            raise SessionEnd(Status.INVALID_ARGUMENT, str(error)) from error
        if delay:
            await asyncio.sleep(delay)  # nothing more is read of it meanwhile

    async def _obey(self, body: str | None, message: pb.GuestMessage, size: int) -> None:
        match body:
            case "heartbeat":
                ack = pb.HeartbeatAck(time=message.heartbeat.time)
                self._outbox.post(pb.BridgeMessage(heartbeat_ack=ack), key="heartbeat")
            case "logs":
                await self._logs.put(message.logs, size)
            case "report":
                self._reports.report(message.report)
            case "stream_data":
                self._streams.on_data(message.stream_data)
            case "stream_window":
                self._streams.on_window(message.stream_window)
            case "stream_opened":
                self._streams.on_opened(message.stream_opened)
            case "stream_closed":
                self._streams.on_closed(message.stream_closed)
            case "session_stored":
                await self._confirm()
            case "hello":
                raise SessionEnd(Status.INVALID_ARGUMENT, "a second hello")
            case _:
                self._note(body, message)

    def _note(self, body: str | None, message: pb.GuestMessage) -> None:
        """What takes no time; a body that we do not know is a newer agent's."""
        match body:
            case "info":
                self.facts = convert.with_info(self.facts, message.info)
                self._reports.facts(self.facts)
            case "event":
                self._record_event(message.event)
            case "metrics":
                self._parts.record_usage(self.key, self._sample(message.metrics))
            case "probe_result":
                self._probes.on_answer(message.probe_result)
            case "hook_result":
                self._hooks.on_answer(message.hook_result)
            case "keys_applied":
                self._note_keys(convert.clip(message.keys_applied.error))
            case "stopped":
                self.stopped = True
                self._changed()
            case _:
                pass

    def _sample(self, message: pb.MetricsSample) -> Sample:
        now = int(self._parts.now().timestamp() * 1_000_000) * 1000
        return convert.sample(message, at=now, instance=self.boot, boot_id=self.facts.boot_id)

    async def _confirm(self) -> None:
        """From now on the boot token is good for nothing."""
        try:
            await self._record.edit(lambda record: confirmed(record, self.session_hash))
        except Transient as error:
            raise SessionEnd(Status.UNAVAILABLE, "the confirmation cannot be kept now") from error
        self.trust()

    def _note_keys(self, error: str) -> None:
        if error and self._events.try_take():
            log.warning("SSH keys are not in the guest", pod=str(self.key), error=error)

    def _record_event(self, message: pb.GuestEvent) -> None:
        event = convert.event(message)
        if event is None or not self._events.try_take():
            self._parts.counters.refused("event")
            return
        self._parts.record_event(self.key, event)


def _size(size: tuple[int, int]) -> pb.TerminalSize:
    return pb.TerminalSize(columns=size[0], rows=size[1])
