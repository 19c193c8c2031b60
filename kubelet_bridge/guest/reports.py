"""One guest's reports on their way to the store. Reports are level-based: of those that wait, the newest counts."""

import asyncio
from collections.abc import Callable
from datetime import datetime

import msgspec
import structlog

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.aio import failpoints
from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.errors import Transient
from kubelet_bridge.guest import convert
from kubelet_bridge.guest.outbox import Outbox
from kubelet_bridge.guest.record import Edit, RecordKeeper
from kubelet_bridge.model.guest import GuestFacts, GuestReport

_PAUSE = 0.1
"""Between two commits: a guest that reports all the time must not keep disk and sync loop busy."""
log = structlog.get_logger(__name__)

_ACKNOWLEDGED = failpoints.declare("guest.report.acknowledged")


class ReportKeeper:
    """Commits, acknowledges, then tells that the Pod is to be looked at: in this order."""

    def __init__(
        self, record: RecordKeeper, outbox: Outbox, changed: Callable[[], None], now: Callable[[], datetime]
    ) -> None:
        self._record, self._outbox, self._changed, self._now = record, outbox, changed, now
        self._report: GuestReport | None = None
        self._number = 0
        self._facts: GuestFacts | None = None
        self._news = asyncio.Event()

    def report(self, report: pb.PodReport) -> None:
        """The newest report. What waits is what fits into a Pod's status, however large the message was."""
        self._report = convert.report(report)
        self._number = report.number
        self._news.set()

    def facts(self, facts: GuestFacts) -> None:
        """What the guest says of its operating system now."""
        self._facts = facts
        self._news.set()

    async def run(self) -> None:
        """Write for ever."""
        backoff = Backoff(base=0.5, cap=15.0)
        while True:
            await self._news.wait()
            self._news.clear()
            report, number, facts = self._report, self._number, self._facts
            self._report = self._facts = None
            while True:
                try:
                    await self._record.edit(_with(report, facts, self._now()))
                    break
                except Transient as error:
                    delay = backoff.next()
                    log.warning("a guest's report waits for the disk", error=str(error), retry_in=round(delay, 1))
                    await asyncio.sleep(delay)
            backoff.reset()
            if report is not None:
                self._outbox.post(pb.BridgeMessage(report_ack=pb.ReportAck(number=number)), key="report")
                _ACKNOWLEDGED.hit()
            self._changed()
            await asyncio.sleep(_PAUSE)


def _with(report: GuestReport | None, facts: GuestFacts | None, now: datetime) -> Edit:
    changes: dict[str, object] = {"seen_at": now}
    if report is not None:
        changes["report"] = report
    if facts is not None:
        changes["facts"] = facts
    return lambda record: msgspec.structs.replace(record, **changes)
