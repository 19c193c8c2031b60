"""Everything about guests' agents, made and connected: authority, agent file, registry, logs, and the two servers."""

import asyncio
import time
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import structlog

from kubelet_bridge.aio import files
from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.aio.tasks import every
from kubelet_bridge.daemon.guestsecret import authority, secret_name
from kubelet_bridge.daemon.ownnamespace import own_namespace
from kubelet_bridge.daemon.vsockgate import vsock_offered
from kubelet_bridge.errors import BridgeError, Terminal, Transient
from kubelet_bridge.guest import bundle
from kubelet_bridge.guest.authority import Authority, ServerCertificate
from kubelet_bridge.guest.bundle import Bundle
from kubelet_bridge.guest.caller import ByteStream, GuestCaller
from kubelet_bridge.guest.files import FileServer
from kubelet_bridge.guest.limits import SessionLimits
from kubelet_bridge.guest.logs import LogStore
from kubelet_bridge.guest.ports import Enqueue, ManifestSource, RecordEvent, RecordUsage
from kubelet_bridge.guest.registry import GuestRegistry
from kubelet_bridge.guest.server import GuestServer
from kubelet_bridge.guest.session import GuestSession, Parts
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.guest import Guest
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.reconcile.ports import GuestPort
from kubelet_bridge.settings import Settings, address, cache_root
from kubelet_bridge.store.database import Database
from kubelet_bridge.store.guests import GuestStore
from kubelet_bridge.telemetry.metrics import Metrics
from kubelet_bridge.translate.config import GuestAccess
from kubelet_bridge.translate.nodestatus import Trouble

log = structlog.get_logger(__name__)

_RENEW_EVERY = 3600.0
_TRIES = 3

VSOCK_PORT = 10251
"""In the guest. As the port that guests dial; nothing is gained by choosing another."""

Served = Callable[[GuestAccess], None]
Call = Callable[[int, PodKey], AbstractAsyncContextManager[ByteStream]]


class _Unprepared(Exception):
    """Guests cannot be served yet."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.trouble = Trouble(reason, message)


class GuestSide:
    """``begin``, then ``access``; ``run`` serves guests as soon as they can be.

    Attributes:
        logs: a part of its own, to be opened before.
        trouble: why guests are not served, though they should be; None when they are.
    """

    def __init__(
        self, settings: Settings, client: Client, database: Database, metrics: Metrics, ip: str,
        changed: Callable[[], None] = lambda: None, call: Call | None = None,
        record_usage: RecordUsage = lambda _key, _sample: None,
    ) -> None:  # fmt: skip
        """``changed`` is called when ``trouble`` has; ``call`` connects to a Pod's guest on a vsock port."""
        self.trouble: Trouble | None = None
        self._settings, self._client, self._database, self._ip = settings, client, database, ip
        self._changed, self._call, self._record_usage = changed, call, record_usage
        self._counters = _Counters(metrics)
        self.logs = LogStore(Path(settings.state_dir) / "logs")
        self._authority: Authority | None = None
        self._certificate: ServerCertificate | None = None
        self._bundle: Bundle | None = None
        self._vsock_port = 0
        self._registry: GuestRegistry | None = None
        self._served: Served = lambda _: None
        self._tried = asyncio.Event()
        metrics.count("guests", "Agents in guests.", "state", self._count)

    async def begin(
        self, uids: Collection[str], *, manifest: ManifestSource, record: RecordEvent, enqueue: Enqueue, served: Served
    ) -> GuestPort | None:
        """What the sync loop talks to; None when guests get no agent.

        ``uids`` are the Pods that there are: what is kept of others is removed. ``served`` is told how guests reach
        us, when that is known only after ``access``.

        Raises:
            Transient: the disk does not serve.
        """
        if not self._settings.guest_listen:
            return None
        parts = Parts(
            limits=SessionLimits(), logs=self.logs, manifest=manifest, record_event=record, counters=self._counters,
            record_usage=self._record_usage, clock=time.monotonic, now=lambda: datetime.now(UTC),
        )  # fmt: skip
        self._served = served
        self._registry = GuestRegistry(await GuestStore.load(self._database), parts, enqueue=enqueue)
        await self._registry.keep_only(uids)
        return self._registry

    def guest(self, uid: str) -> Guest | None:
        """What is known of the guest of a machine's uid."""
        return self._registry.get(uid) if self._registry is not None else None

    def session(self, uid: str) -> GuestSession | None:
        """The connected agent of a machine's uid."""
        return self._registry.session(uid) if self._registry is not None else None

    async def access(self) -> GuestAccess | None:
        """How guests reach us; None when they get no agent, or not yet: ``trouble`` says why, and ``run`` goes on."""
        if self._registry is None:
            return None
        access = await self._try()
        self._tried.set()
        return access

    async def run(self) -> None:
        """Serve for ever."""
        await self._tried.wait()
        backoff = Backoff(base=1.0, cap=60.0)
        while self._bundle is None:
            await asyncio.sleep(backoff.next())
            if (access := await self._try()) is not None:
                log.info("guests are served after all")
                self._served(access)
        server, file_server = await self._servers()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(file_server)
            await stack.enter_async_context(server)
            async with asyncio.TaskGroup() as group:
                group.create_task(server.run(), name="guests: gRPC")
                group.create_task(file_server.run(), name="guests: files")
                group.create_task(self._keep_valid(server, file_server), name="guests: certificate")
                if self._vsock_port and self._call is not None and self._registry is not None:
                    dial = partial(self._call, self._vsock_port)
                    group.create_task(GuestCaller(self._registry, server.front, dial).run(), name="guests: vsock")

    async def _try(self) -> GuestAccess | None:
        try:
            access = await self._prepare()
        except _Unprepared as error:
            self._without(error.trouble)
            return None
        if self.trouble is not None:
            self.trouble = None
            self._changed()
        return access

    async def _prepare(self) -> GuestAccess:
        settings = self._settings
        namespace = await own_namespace(settings)
        try:
            self._authority = await self._learn_authority(namespace)
        except BridgeError as error:
            if isinstance(error, Terminal):
                raise _Unprepared(error.reason, error.message) from error
            secret = f"{namespace}/{secret_name(settings.node_name)}"
            raise _Unprepared("GuestSecretUnavailable", f"Secret {secret}: {error.message}") from error
        await self._renew()
        self._vsock_port = await self._learn_vsock()
        try:
            self._bundle = await asyncio.to_thread(_agent, settings)
        except Terminal as error:
            raise _Unprepared("AgentUnavailable", error.message) from error
        access = GuestAccess(
            address=settings.guest_address or self._dialled("guest_listen"),
            files_url=f"https://{settings.guest_files_address or self._dialled('guest_files_listen')}",
            ca=self._authority.certificate.decode(), key=self._authority.key, agent_version=self._bundle.version,
            agent_digest=self._bundle.digest, agent_size=self._bundle.size, vsock_port=self._vsock_port,
        )  # fmt: skip
        if self._registry is not None:
            self._registry.open(access)
        return access

    async def _learn_vsock(self) -> int:
        try:
            transport = self._settings.guest_transport
            wanted = transport == "vsock" or (transport == "auto" and await vsock_offered(self._client))
        except BridgeError as error:
            raise _Unprepared("KubeVirtUnavailable", f"KubeVirt's feature gates: {error.message}") from error
        return VSOCK_PORT if wanted else 0

    async def _learn_authority(self, namespace: str) -> Authority:
        """A moment's weakness of the API server is not worth telling: VMs made meanwhile would lack the agent."""
        backoff = Backoff(base=0.5, cap=2.0)
        for _ in range(_TRIES - 1):
            try:
                return await authority(self._client, namespace, self._settings.node_name, now=datetime.now(UTC))
            except Transient:
                await asyncio.sleep(backoff.next())
        return await authority(self._client, namespace, self._settings.node_name, now=datetime.now(UTC))

    async def _servers(self) -> tuple[GuestServer, FileServer]:
        if self._registry is None or self._bundle is None:
            raise RuntimeError("guests cannot be served")
        host, port = address("guest_listen", self._settings.guest_listen)
        server = GuestServer(
            host, port, registry=self._registry, certificate=self._current, counters=self._counters,
            clock=time.monotonic,
        )  # fmt: skip
        host, port = address("guest_files_listen", self._settings.guest_files_listen)
        file_server = FileServer(
            host, port, content=await files.read(self._bundle.path), digest=self._bundle.digest,
            certificate=self._current, private=Path(self._settings.state_dir), counters=self._counters,
            clock=time.monotonic,
        )  # fmt: skip
        return server, file_server

    async def _keep_valid(self, server: GuestServer, file_server: FileServer) -> None:
        async def renew() -> None:
            if self._current().due(datetime.now(UTC)):
                await self._renew()
                await file_server.renew()
                await server.renew()
                log.info("guests are served with a new certificate")

        await every(_RENEW_EVERY, renew, jitter=0.1, tolerate=(OSError,))

    async def _renew(self) -> None:
        if self._authority is not None:
            self._certificate = await asyncio.to_thread(self._authority.issue, now=datetime.now(UTC))

    def _current(self) -> ServerCertificate:
        if self._certificate is None:
            raise RuntimeError("there is no certificate yet")
        return self._certificate

    def _dialled(self, setting: str) -> str:
        _, port = address(setting, getattr(self._settings, setting))
        return f"[{self._ip}]:{port}" if ":" in self._ip else f"{self._ip}:{port}"

    def _without(self, trouble: Trouble) -> None:
        """Pods that need no agent are run all the same; the others wait."""
        if trouble != self.trouble:
            self.trouble = trouble
            log.error("guests are not served, will be tried again", reason=trouble.reason, error=trouble.message)
            self._changed()

    def _count(self) -> dict[str, int]:
        connected = self._registry.connected() if self._registry is not None else 0
        return {"connected": connected}


class _Counters:
    """Satisfies ``guest.ports.Counters``."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def handshake(self, result: str) -> None:
        self._metrics.guest_handshakes.labels(result).inc()

    def refused(self, reason: str) -> None:
        self._metrics.guest_refused.labels(reason).inc()

    def log_bytes(self, count: int) -> None:
        self._metrics.guest_log_bytes.inc(count)


def _agent(settings: Settings) -> Bundle:
    """The file that the settings name, or the one of this program. Blocks. Raises ``Terminal``."""
    try:
        if settings.agent_file:
            return bundle.load(Path(settings.agent_file))
        return bundle.ensure(cache_root())
    except OSError as error:
        raise Terminal(f"the agent's file: {error}") from error
