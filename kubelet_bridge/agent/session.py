"""The conversation with the bridge, which goes on for as long as the agent: lost, it is begun again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any, Awaitable, Callable, Optional

from kubelet_bridge.agent import tasks
from kubelet_bridge.agent.backoff import Backoff, spread
from kubelet_bridge.agent.config import Seed
from kubelet_bridge.agent.connection import Connection, Refused, Transport
from kubelet_bridge.agent.credentials import Session as Credentials
from kubelet_bridge.agent.credentials import Vault
from kubelet_bridge.agent.handshake import introduce
from kubelet_bridge.agent.outbox import Outbox
from kubelet_bridge.agent.seconds import bounded
from kubelet_bridge.agent.spool import Spool
from kubelet_bridge.agent.telling import clip, tell
from kubelet_bridge.agent.threads import in_thread
from kubelet_bridge.agent.v1 import agent_pb2 as pb

log = logging.getLogger(__name__)

HOPELESS_SECONDS = 300.0
"""Between attempts after a refusal that will hardly be taken back: the Pod is gone, or another agent speaks for it."""
_HOPELESS = frozenset({"PERMISSION_DENIED", "FAILED_PRECONDITION", "ALREADY_EXISTS"})
MISSED = 3
"""Heartbeats without a word from the bridge before the link counts as dead."""
_DEFAULT_LIMIT = 4 * 1024 * 1024

Handler = Callable[[Any], Optional[Awaitable[Any]]]


class Session:
    """A ``link.Link``. Parts of the agent register what they want to hear before ``run`` begins."""

    def __init__(
        self, transport: Transport, seed: Seed, vault: Vault, spool: Spool, hello: Callable[[], Awaitable[pb.Hello]]
    ) -> None:
        """``vault`` keeps the session's credentials. ``hello`` tells of the guest, anew each time."""
        self._transport = transport
        self._seed = seed
        self._vault = vault
        self._spool = spool
        self._hello = hello
        self._credentials: Credentials | None = None
        self._handlers: dict[str, list[Handler]] = {
            "report_ack": [self._acknowledged],
            "heartbeat_ack": [],
        }
        self._lost: list[Callable[[], None]] = []
        self._outbox: Outbox | None = None
        self._to_say = asyncio.Event()
        self._settled = asyncio.Event()
        self._heard = 0.0
        self._before_the_end: Callable[[], Awaitable[None]] | None = None

    # ------------------------------------------------------------------------------------------ for the other parts

    @property
    def connected(self) -> bool:
        """As ``link.Link``."""
        return self._outbox is not None

    def report(self, report: pb.PodReport) -> None:
        """As ``link.Link``."""
        self._spool.put(report)
        self._to_say.set()

    def event(self, event: pb.GuestEvent) -> None:
        """As ``link.Link``."""
        event.message = clip(event.message)
        self._spool.add(event)
        self._to_say.set()

    async def send(self, message: pb.GuestMessage) -> None:
        """As ``link.Link``; ValueError when the message is larger than the bridge takes."""
        if self._outbox is None:
            raise ConnectionError("there is no connection to the bridge")
        await self._outbox.put(message)

    def on(self, body: str, handler: Handler) -> None:
        """Call ``handler`` with each message of this kind (a field's name in ``BridgeMessage``), in their order.

        Nothing else is heard before it has returned, and what it returned has been awaited. ``welcome`` comes once per
        connection, after the session is stored; "" stands for the whole of each message that nobody else hears.
        """
        self._handlers.setdefault(body, []).append(handler)

    def on_lost(self, handler: Callable[[], None]) -> None:
        """Call ``handler`` when a connection that was welcomed ends."""
        self._lost.append(handler)

    def before_the_end(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Await this before a report that says ``finished``: the bridge may then switch the machine off."""
        self._before_the_end = wait

    async def settle(self, limit: float) -> bool:
        """Wait until the bridge has the last report; False when it has not within ``limit`` seconds."""
        self._settled.clear()
        if self._spool.report is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._settled.wait(), limit)
        return self._spool.report is None

    # ------------------------------------------------------------------------------------------ the conversation

    async def run(self) -> None:
        """Connect and speak, for ever."""
        self._credentials = await in_thread(self._vault.load)
        await self._spool.load()
        try:
            await tasks.until_one_ends(self._keep_talking(), self._keep_saying())
        finally:
            await self._save()

    async def _keep_talking(self) -> None:
        backoff = Backoff()
        while True:
            began = time.monotonic()
            try:
                delay = await self._talk(backoff, began)
            except OSError as error:  # ConnectionError and ssl.SSLError are
                delay = backoff.failed(time.monotonic() - began)
                tell(
                    f"no connection to the bridge ({str(error) or type(error).__name__}); next attempt in {delay:.1f} s"
                )
            except Exception:
                # Containers must not lose their agent to whatever a broken bridge has said.
                delay = backoff.failed(time.monotonic() - began)
                log.exception("the conversation with the bridge failed; next attempt in %.1f s", delay)
            await asyncio.sleep(delay)

    async def _talk(self, backoff: Backoff, began: float) -> float:
        """One connection; the seconds to wait before the next. Raises OSError when it was lost."""
        connection = await self._transport.connect()
        try:
            await self._converse(connection)
        except Refused as refused:
            return self._after(refused, backoff, time.monotonic() - began)
        finally:
            await connection.close()
        raise ConnectionError("the bridge ended the stream")

    def _after(self, refused: Refused, backoff: Backoff, stood: float) -> float:
        if refused.code == "UNAUTHENTICATED" and self._credentials is not None:
            tell("the bridge does not know this session any more; introducing myself with the boot token")
            self._credentials = None
            return 0.0
        delay = spread(HOPELESS_SECONDS) if refused.code in _HOPELESS else backoff.failed(stood)
        tell(f"the bridge refused: {refused}; next attempt in {delay:.0f} s")
        return delay

    async def _converse(self, connection: Connection) -> None:
        welcomed = await introduce(connection, self._seed, self._credentials, await self._hello())
        welcome = welcomed.welcome
        outbox = Outbox(welcome.max_message_bytes or _DEFAULT_LIMIT)
        if welcomed.session is not None:
            await self._keep(welcomed.session)
            outbox.put_now(pb.GuestMessage(session_stored=pb.SessionStored()))
        tell("connected to the bridge")
        self._outbox = outbox
        self._heard = time.monotonic()
        try:
            await self._dispatch("welcome", welcome)
            self._to_say.set()
            await tasks.until_one_ends(
                self._listen(connection), self._write(connection, outbox), self._beat(outbox, welcome.heartbeat_seconds)
            )
        finally:
            self._outbox = None
            outbox.close()
            for handler in self._lost:
                handler()

    async def _keep(self, session: Credentials) -> None:
        await in_thread(self._vault.store, session)
        self._credentials = session

    async def _listen(self, connection: Connection) -> None:
        while True:
            message = await connection.receive()
            if message is None:
                return
            self._heard = time.monotonic()
            body = message.WhichOneof("body")
            if body is None or body == "welcome":
                continue  # what a newer bridge says and we do not know has no body
            if body in self._handlers:
                await self._dispatch(body, getattr(message, body))
            else:
                await self._dispatch("", message)

    async def _dispatch(self, body: str, content: Any) -> None:
        for handler in self._handlers.get(body, ()):
            await self._handle(handler, body, content)

    async def _handle(self, handler: Handler, body: str, content: Any) -> None:
        """A message that somebody cannot deal with is said, and takes nothing else with it."""
        try:
            pending = handler(content)
            if pending is not None:
                await pending
        except ConnectionError:
            raise
        except Exception:
            log.exception("a message of the bridge's (%s) cannot be dealt with", body or "about a stream")

    async def _write(self, connection: Connection, outbox: Outbox) -> None:
        while True:
            await connection.send(await outbox.take())

    async def _beat(self, outbox: Outbox, seconds: float) -> None:
        period = bounded(seconds, 1.0, 60.0, otherwise=10.0)
        while True:
            if time.monotonic() - self._heard > MISSED * period:
                raise ConnectionError(f"not a word from the bridge for {MISSED * period:.0f} s")
            outbox.put_now(pb.GuestMessage(heartbeat=pb.Heartbeat(time=time.time_ns())))
            await asyncio.sleep(period)

    # ------------------------------------------------------------------------------------------ reports and events

    def _acknowledged(self, ack: pb.ReportAck) -> None:
        self._spool.acknowledged(ack.number)
        if self._spool.report is None:
            self._settled.set()
        self._to_say.set()

    async def _keep_saying(self) -> None:
        """Put reports and events on disk as they come, and send those that the bridge does not have."""
        sent: tuple[Outbox | None, int] = (None, 0)
        while True:
            await self._to_say.wait()
            self._to_say.clear()
            await self._save()
            report, outbox = self._spool.report, self._outbox
            if outbox is None:
                continue
            for event in self._spool.take_events():
                if not self._say(outbox, pb.GuestMessage(event=event)):
                    self._spool.add(event)
            if report is not None and sent != (outbox, report.number):
                if report.finished and self._before_the_end is not None:
                    await self._before_the_end()
                if self._say(outbox, pb.GuestMessage(report=report)):
                    sent = (outbox, report.number)
            await self._save()

    async def _save(self) -> None:
        """A full disk must not keep the bridge from hearing what is said."""
        try:
            await self._spool.save()
        except OSError as error:
            tell(f"the spool cannot be written, and what is not acknowledged is lost with this agent: {error}")

    def _say(self, outbox: Outbox, message: pb.GuestMessage) -> bool:
        """False when the connection has ended: it will be said again on the next."""
        try:
            outbox.put_now(message)
        except ConnectionError:
            return False
        except ValueError as error:
            tell(f"cannot be told: {error}")
        return True
