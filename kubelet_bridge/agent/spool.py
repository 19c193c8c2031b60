"""What was said and has not arrived: the last report and the last hundred events, on disk."""

from __future__ import annotations

import base64
import time
from collections import deque
from pathlib import Path
from typing import Any

from kubelet_bridge.agent.files import read_json, write_json
from kubelet_bridge.agent.threads import in_thread
from kubelet_bridge.agent.v1 import agent_pb2 as pb

EVENTS = 100


class Spool:
    """Numbers and keeps reports, keeps events; ``save`` puts on disk what changed since.

    Numbers begin with the time in milliseconds, so that they grow even when the disk they are kept on is lost (a VM's
    container disk is fresh at each boot).
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "spool.json"
        self._number = time.time_ns() // 1_000_000
        self._report: pb.PodReport | None = None
        self._events: deque[pb.GuestEvent] = deque(maxlen=EVENTS)
        self._changed = False

    async def load(self) -> None:
        """Take up what an agent before us left; what was put in meanwhile is newer."""
        document = await in_thread(read_json, self._path) or {}
        self._number = max(self._number, _int(document.get("number")))
        if self._report is None:
            self._report = _decoded(pb.PodReport, document.get("report"))
        else:
            self._number += 1
            self._report.number = self._number
        found = [_decoded(pb.GuestEvent, one) for one in _list(document.get("events"))]
        self._events.extendleft(reversed([one for one in found if one is not None]))

    def put(self, report: pb.PodReport) -> pb.PodReport:
        """Give it the next number; it takes the place of the former report."""
        self._number += 1
        kept = pb.PodReport()
        kept.CopyFrom(report)
        kept.number = self._number
        self._report = kept
        self._changed = True
        return kept

    def acknowledged(self, number: int) -> None:
        """The bridge has this report: forget it, unless a newer one took its place."""
        if self._report is not None and self._report.number <= number:
            self._report = None
            self._changed = True

    @property
    def report(self) -> pb.PodReport | None:
        """The one to send; None when the bridge has it."""
        return self._report

    def add(self, event: pb.GuestEvent) -> None:
        """Keep an event; the oldest of more than a hundred is dropped."""
        self._events.append(event)
        self._changed = True

    def take_events(self) -> list[pb.GuestEvent]:
        """All that are kept, which are then no longer kept."""
        taken = list(self._events)
        self._events.clear()
        self._changed = self._changed or bool(taken)
        return taken

    async def save(self) -> None:
        """Put what changed on disk."""
        if not self._changed:
            return
        self._changed = False
        document: dict[str, Any] = {"number": self._number, "events": [_encoded(event) for event in self._events]}
        if self._report is not None:
            document["report"] = _encoded(self._report)
        try:
            await in_thread(write_json, self._path, document)
        except BaseException:
            self._changed = True
            raise


def _encoded(message: pb.PodReport | pb.GuestEvent) -> str:
    return base64.b64encode(message.SerializeToString()).decode()


def _decoded(kind: Any, text: object) -> Any:
    if not isinstance(text, str):
        return None
    try:
        return kind.FromString(base64.b64decode(text))
    except Exception:  # noqa: BLE001 - protobuf's DecodeError and base64's: what cannot be read was not kept
        return None


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
