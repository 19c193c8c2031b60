"""Every guest of this node: who may come, who is there, what is known of it.

``GuestRegistry`` satisfies ``reconcile.ports.GuestPort``.
"""

import secrets
from collections import OrderedDict
from collections.abc import Collection
from datetime import datetime

import structlog

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.aio import failpoints
from kubelet_bridge.errors import Transient
from kubelet_bridge.guest import convert
from kubelet_bridge.guest.ending import Status
from kubelet_bridge.guest.handshake import (
    PROTOCOL_VERSION,
    Known,
    Refusal,
    Refused,
    Standing,
    Welcomed,
    confirmed,
    decide,
    handed_out,
    malformed,
    proof,
)
from kubelet_bridge.guest.limits import Buckets
from kubelet_bridge.guest.ports import Enqueue, Records
from kubelet_bridge.guest.record import RecordKeeper
from kubelet_bridge.guest.session import GuestSession, Parts
from kubelet_bridge.model import guesttoken
from kubelet_bridge.model.guest import Guest, GuestFacts
from kubelet_bridge.model.guestrecord import GuestRecord
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.translate.config import GuestAccess

log = structlog.get_logger(__name__)

_GONE_REMEMBERED = 4096
_HANDED_OUT = failpoints.declare("guest.token.handed-out")


class NotWelcome(Exception):
    """The agent is refused; ``refused`` says with what."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.message)
        self.refused = refused


class _Entry:
    """One Pod uid."""

    def __init__(self, key: PodKey, record: RecordKeeper, since: datetime | None) -> None:
        self.key, self.record, self.since = key, record, since
        self.boot = ""
        self.session: GuestSession | None = None


class GuestRegistry:
    """Belongs to one event loop. Before ``open`` it only remembers, and nobody is welcome.

    Args:
        enqueue: told of every guest about which something has changed.
    """

    def __init__(self, records: Records, parts: Parts, *, enqueue: Enqueue) -> None:
        self._records, self._parts, self._enqueue = records, parts, enqueue
        self._access: GuestAccess | None = None
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._failures = Buckets(parts.limits.failures, parts.clock)
        self._welcomes = Buckets(parts.limits.welcomes, parts.clock)
        self._entries = {one.uid: self._known_before(one) for one in records.all()}

    # For the sync loop.

    def get(self, uid: str) -> Guest | None:
        """What is known of the guest of a Pod uid; None when no agent belongs to it, or none could have come yet."""
        entry = self._entries.get(uid)
        if entry is None:
            return None
        record, session = entry.record.current, entry.session
        if record is None and self._access is None:
            return None
        return Guest(
            connected=session is not None,
            outdated=session is not None and session.outdated,
            since=entry.since,
            facts=session.facts if session is not None else record.facts if record is not None else GuestFacts(),
            report=record.report if record is not None else None,
        )

    def expect(self, key: PodKey, *, boot: str) -> None:
        """The Pod has a VM whose current boot is ``boot`` (the VMI's uid; empty while it has none)."""
        if key.uid in self._gone:
            return
        entry = self._entries.get(key.uid)
        if entry is None:
            entry = self._entries[key.uid] = _Entry(key, RecordKeeper(key, self._records), None)
        entry.boot = boot
        session = entry.session
        if session is not None and boot and session.boot and session.boot != boot:
            session.end(Status.UNAVAILABLE, "this machine has been replaced")

    def refresh(self, key: PodKey) -> None:
        """What the guest's manifest is made of may have changed."""
        if (session := self.session(key.uid)) is not None:
            session.refresh()

    def shut_down(self, uid: str, *, grace: int, reason: str) -> None:
        """Ask the agent to stop its containers, if it is connected."""
        if (session := self.session(uid)) is not None:
            session.shut_down(grace=grace, reason=reason)

    async def forget(self, uid: str) -> None:
        """The Pod is gone: its tokens are good for nothing, its logs and its last report are removed.

        Raises:
            Transient: the disk takes no writes; to be repeated.
        """
        self._gone[uid] = None
        while len(self._gone) > _GONE_REMEMBERED:
            self._gone.popitem(last=False)
        entry = self._entries.get(uid)
        if entry is not None:
            if entry.session is not None:
                entry.session.end(Status.PERMISSION_DENIED, "the Pod is gone")
            await entry.record.remove()
            self._entries.pop(uid, None)
        await self._parts.logs.remove(uid)

    # For the daemon and the kubelet API.

    def open(self, access: GuestAccess) -> None:
        """From now on guests may come: by the tokens made from the node's key, and offered the agent of ``access``."""
        self._access = access

    def session(self, uid: str) -> GuestSession | None:
        """The connected guest of a Pod uid."""
        entry = self._entries.get(uid)
        return None if entry is None else entry.session

    def awaited(self) -> list[PodKey]:
        """Whose machine runs, and whose agent is not there."""
        return [entry.key for uid, entry in self._entries.items() if self.is_awaited(uid)]

    def is_awaited(self, uid: str) -> bool:
        """Whether the machine of a Pod uid runs and its agent is not there."""
        entry = self._entries.get(uid)
        return entry is not None and bool(entry.boot) and entry.session is None

    def connected(self) -> int:
        """How many are connected."""
        return sum(entry.session is not None for entry in self._entries.values())

    def disconnect_all(self) -> None:
        """The bridge stops: agents are to come again when there is one."""
        for entry in self._entries.values():
            if entry.session is not None:
                entry.session.end(Status.UNAVAILABLE, "the bridge is being stopped")

    async def keep_only(self, uids: Collection[str]) -> None:
        """Forget the guests of every other Pod: those that went while we were not there.

        Raises:
            Transient: the disk takes no writes.
        """
        for uid in [uid for uid in self._entries if uid not in uids]:
            await self.forget(uid)
        await self._parts.logs.keep_only(uids)

    # For the server.

    async def welcome(self, hello: pb.Hello, peer: str) -> GuestSession:
        """The session of an agent that has introduced itself well, its Welcome waiting to be sent.

        An older session of the same guest is ended. To be followed by ``GuestSession.run`` and ``ended``.

        Raises:
            NotWelcome: it has not.
        """
        try:
            session = await self._welcome(hello, self._opened)
        except NotWelcome as refusal:
            self._parts.counters.handshake(refusal.refused.result)
            if not self._failures.try_take(peer):
                message = "too many failed attempts; come back later"
                raise NotWelcome(Refused(Refusal.RESOURCE_EXHAUSTED, message, "rate")) from refusal
            log.info("guest refused", peer=peer, result=refusal.refused.result, claimed=convert.clip(hello.pod_uid, 64))
            raise
        self._parts.counters.handshake("welcome")
        return session

    def ended(self, session: GuestSession) -> None:
        """Its stream is over."""
        entry = self._entries.get(session.key.uid)
        if entry is not None and entry.session is session:
            entry.session, entry.since = None, self._parts.now()
        self._enqueue(session.key)

    @property
    def _opened(self) -> GuestAccess:
        if self._access is None:
            raise NotWelcome(Refused(Refusal.UNAVAILABLE, "guests are not served yet", "not_open"))
        return self._access

    async def _welcome(self, hello: pb.Hello, access: GuestAccess) -> GuestSession:
        if (refused := malformed(hello)) is not None:
            raise NotWelcome(refused)
        uid = hello.pod_uid
        decided = self._decide(hello, access)
        entry = self._entries[uid]
        if not self._welcomes.try_take(uid):
            raise NotWelcome(Refused(Refusal.RESOURCE_EXHAUSTED, "this guest connects too often", "rate"))
        token, boot = "", entry.boot
        try:
            if decided.boot_token:
                token = secrets.token_urlsafe(32)
                await self._hand_out(hello, access, entry, guesttoken.token_hash(token))
            elif decided.promote:
                await entry.record.edit(lambda record: confirmed(record, decided.session_hash))
            logs = await self._logs(uid)
        except Transient as error:
            raise NotWelcome(Refused(Refusal.UNAVAILABLE, "the bridge's disk takes no writes", "disk")) from error
        if self._entries.get(uid) is not entry or uid in self._gone:  # forgotten while we waited
            raise NotWelcome(Refused(Refusal.PERMISSION_DENIED, "the Pod is gone", "gone"))
        session = self._session(hello, entry, boot, decided.session_hash or guesttoken.token_hash(token))
        session.welcome(self._welcome_message(hello, access, decided, token, logs))
        if not decided.boot_token:
            session.trust()
        self._replace(entry, session)
        return session

    async def _logs(self, uid: str) -> list[pb.LogAck]:
        """What an earlier bridge wrote may not be on the disk, and the guest forgets what it is told has arrived."""
        positions = await self._parts.logs.positions(uid)
        await self._parts.logs.kept(uid)
        return positions

    def _decide(self, hello: pb.Hello, access: GuestAccess) -> Welcomed:
        entry = self._entries.get(hello.pod_uid)
        if hello.pod_uid in self._gone:
            known = Known(Standing.GONE)
        elif entry is None:
            known = Known(Standing.UNKNOWN)
        else:
            known = Known(Standing.EXPECTED, entry.boot, self._records.latest(hello.pod_uid))
        decided = decide(hello, known, access.key)
        if isinstance(decided, Refused):
            raise NotWelcome(decided)
        return decided

    async def _hand_out(self, hello: pb.Hello, access: GuestAccess, entry: _Entry, session_hash: str) -> None:
        """Decided again where nobody else can use up the boot token meanwhile."""

        def edit(record: GuestRecord) -> GuestRecord:
            self._decide(hello, access)
            return handed_out(record, session_hash=session_hash, boot=entry.boot)

        await entry.record.edit(edit)
        _HANDED_OUT.hit()

    def _session(self, hello: pb.Hello, entry: _Entry, boot: str, session_hash: str) -> GuestSession:
        return GuestSession(
            entry.key, boot, convert.facts(hello), entry.record, self._parts, session_hash=session_hash,
            outdated=hello.protocol_version < PROTOCOL_VERSION, changed=lambda: self._enqueue(entry.key),
        )  # fmt: skip

    def _welcome_message(
        self, hello: pb.Hello, access: GuestAccess, decided: Welcomed, token: str, logs: list[pb.LogAck]
    ) -> pb.Welcome:
        limits = self._parts.limits
        welcome = pb.Welcome(
            protocol_version=PROTOCOL_VERSION, proof=proof(hello, decided, access.key),
            heartbeat_seconds=limits.heartbeat_seconds, metrics_seconds=limits.metrics_seconds,
            max_message_bytes=limits.message_bytes, logs=logs, agent=_offer(access),
        )  # fmt: skip
        if decided.boot_token:
            welcome.session_token = token
            welcome.bridge_secret = guesttoken.bridge_secret(access.key, hello.pod_uid, guesttoken.token_hash(token))
        return welcome

    def _replace(self, entry: _Entry, session: GuestSession) -> None:
        if entry.session is not None:
            entry.session.end(Status.ALREADY_EXISTS, "a newer stream of this guest took over")
        else:
            entry.since = self._parts.now()
        entry.session = session
        self._enqueue(entry.key)

    def _known_before(self, record: GuestRecord) -> _Entry:
        return _Entry(record.key, RecordKeeper(record.key, self._records), record.seen_at)


def _offer(access: GuestAccess) -> pb.AgentOffer:
    return pb.AgentOffer(
        version=access.agent_version, digest=access.agent_digest, size=access.agent_size,
        url=f"{access.files_url}/agent/{access.agent_digest}.pyz",
    )  # fmt: skip
