"""Our Node object: there, marked, its status true. Level-based: every turn looks at the Node as it is and mends it.

The API server writes quantities its own way: what we send and what we read back may be spelled differently. Therefore a
write is due when what *we* would say has changed, or what the *server* has is no longer its answer to our last write.
"""

import asyncio
import random
from types import TracebackType
from typing import Any, Self

import msgspec
import structlog

from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.aio.tasks import close
from kubelet_bridge.errors import AlreadyExists, ApiError, Forbidden, NotFound
from kubelet_bridge.node import report
from kubelet_bridge.node.identity import FoundNode, NodeIdentity, refuse_foreign, without_restricted
from kubelet_bridge.node.ports import Clock, NodeApi, Ready, ReadyState, Status, utc_now

log = structlog.get_logger(__name__)

INTERVAL = 10.0
REPORT_EVERY = 300.0
GOODBYE_LIMIT = 5.0
STOPPED = ReadyState(
    ready=False, reason="KubeletBridgeStopped", message="kubelet-bridge was stopped; its virtual machines keep running"
)

Json = dict[str, Any]


class Registration:
    """Keeps the Node. Leaving the context sets it NotReady and touches nothing else.

    Attributes:
        uid: of the Node as it is now; empty before it is registered.
        registered: set once there is a Node of ours.
    """

    def __init__(
        self, api: NodeApi, identity: NodeIdentity, *, status: Status, ready: Ready, clock: Clock = utc_now,
        interval: float = INTERVAL, report_every: float = REPORT_EVERY,
    ) -> None:  # fmt: skip
        self.uid = ""
        self.registered = asyncio.Event()
        self._api, self._identity = api, identity
        self._status, self._ready, self._clock = status, ready, clock
        self._interval, self._report_every = interval, report_every
        self._poked = asyncio.Event()
        self._sent: Json = {}
        self._echo: Json | None = None
        self._next_report = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await close("node registration", self._say_goodbye(), limit=GOODBYE_LIMIT)

    def poke(self) -> None:
        """Look at once: the Node was changed or deleted, or there is something new to say."""
        self._poked.set()

    async def run(self) -> None:
        """Keep the Node for ever.

        Raises:
            Terminal: the Node of our name is another kubelet's.
        """
        backoff = Backoff(base=0.5, cap=self._interval)
        while True:
            try:
                await self.sync()
            except ApiError as error:
                delay = error.retry_after or backoff.next()
                log.warning("the node could not be brought up to date", error=str(error), retry_in=round(delay, 1))
            else:
                backoff.reset()
                delay = self._interval
            await self._pause(delay)

    async def sync(self) -> None:
        """One turn: create, adopt, or report what is due.

        Raises:
            ApiError: it could not be done.
            Terminal: the Node of our name is another kubelet's.
        """
        try:
            raw = await self._api.get_node()
        except NotFound:
            raw = await self._create()
        else:
            node = msgspec.json.decode(raw, type=FoundNode)
            if node.metadata.uid != self.uid:
                raw = await self._adopt(node, raw)
        await self._report(msgspec.json.decode(raw))

    async def _pause(self, delay: float) -> None:
        try:
            async with asyncio.timeout(delay):
                await self._poked.wait()
        except TimeoutError:
            return
        self._poked.clear()

    async def _create(self) -> bytes:
        manifest = self._identity.manifest(report.stamped(self._wanted(), {}, self._clock()))
        try:
            raw = await self._api.create_node(manifest)
        except Forbidden as error:
            log.warning("registering with fewer labels", error=error.message)
            raw = await self._api.create_node(without_restricted(manifest))
        except AlreadyExists:
            raw = await self._api.get_node()
            return await self._adopt(msgspec.json.decode(raw, type=FoundNode), raw)
        log.info("node registered", node=self._identity.name)
        self._settle(raw)
        return raw

    async def _adopt(self, node: FoundNode, raw: bytes) -> bytes:
        refuse_foreign(node)
        if (patch := self._identity.adoption(node)) is not None:
            try:
                raw = await self._api.patch_node(patch)
            except Forbidden as error:
                log.warning("the node keeps labels or taints that are not ours to change", error=error.message)
                raw = await self._api.patch_node(without_restricted(patch))
        log.info("node adopted", node=self._identity.name, changed=patch is not None)
        self._settle(raw)
        return raw

    def _settle(self, raw: bytes) -> None:
        self.uid = msgspec.json.decode(raw, type=FoundNode).metadata.uid
        self._sent, self._echo = {}, None
        self.registered.set()

    async def _report(self, node: Json) -> None:
        wanted, live = self._wanted(), node.get("status", {})
        loop = asyncio.get_running_loop()
        if not self._due(wanted, live, loop.time()):
            return
        body = report.patch(report.stamped(wanted, live, self._clock()), self._sent)
        answer = await self._patch_status(body)
        self._sent, self._echo = wanted, report.seen(answer.get("status", {}), wanted)
        spread = 1 + (random.random() - 0.5) * 0.2  # noqa: S311 - spreading, not secrecy
        self._next_report = loop.time() + self._report_every * spread

    def _due(self, wanted: Json, live: Json, now: float) -> bool:
        if self._echo is None or now >= self._next_report:
            return True
        return report.said(wanted) != report.said(self._sent) or report.seen(live, wanted) != self._echo

    def _wanted(self) -> Json:
        return report.with_ready(self._status(self._clock()), self._ready())

    async def _patch_status(self, status: Json) -> Json:
        # With the uid, a Node that was replaced meanwhile is not written to: the API server answers 422.
        answer: Json = msgspec.json.decode(
            await self._api.patch_node_status({"metadata": {"uid": self.uid}, "status": status})
        )
        return answer

    async def _say_goodbye(self) -> None:
        if not self.uid:
            return
        try:
            live: Json = msgspec.json.decode(await self._api.get_node()).get("status", {})
            farewell = {"conditions": [report.ready_condition(STOPPED)]}
            await self._patch_status(report.stamped(farewell, live, self._clock()))
        except ApiError as error:
            log.warning("the node could not be set NotReady", error=str(error))
        else:
            log.info("node set NotReady", node=self._identity.name)
