"""The file that outlives the agent: one small JSON document, replaced in one step."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Protocol

from kubelet_bridge.agent.files import read_json, write_json
from kubelet_bridge.agent.pod.record import End, Memory, Record, Stop
from kubelet_bridge.agent.threads import in_thread

log = logging.getLogger(__name__)


class Keeper(Protocol):
    """Keeps a ``Memory`` beyond the agent's life."""

    async def load(self) -> Memory:
        """What was saved last; an empty one at first."""

    async def save(self, memory: Memory) -> None:
        """Keep it; returns when it is safe."""


class MemoryFile:
    """Keeps a ``Memory`` in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved: Memory | None = None

    async def load(self) -> Memory:
        """What was saved last. A file that cannot be read counts as none: the driver still knows what runs."""
        document = await in_thread(read_json, self._path)
        if document is None:
            return Memory()
        try:
            return decode(document)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("cannot understand %s, beginning without it: %s", self._path, error)
            return Memory()

    async def save(self, memory: Memory) -> None:
        """Keep it; returns when it is on disk. Saving what is there already costs nothing.

        With a full disk containers are cared for all the same: what would be lost with this agent is how often they
        were started and why, and the driver still knows what runs.
        """
        if memory == self._saved:
            return
        try:
            await in_thread(write_json, self._path, encode(memory))
        except OSError as error:
            log.warning("what the containers have been through cannot be kept: %s", error)
        else:
            self._saved = memory


def encode(memory: Memory) -> dict[str, Any]:
    """As an object for JSON."""
    return {
        "version": 1,
        "boot": memory.boot,
        "stop": None if memory.stop is None else memory.stop._asdict(),
        "containers": {name: _record_to_json(record) for name, record in memory.containers.items()},
    }


def decode(value: dict[str, Any]) -> Memory:
    """The opposite of ``encode``.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is not what ``encode`` made.
    """
    stop = value["stop"]
    containers = {str(name): _record_from_json(record) for name, record in value["containers"].items()}
    return Memory(str(value["boot"]), containers, None if stop is None else Stop(**stop))


def _record_to_json(record: Record) -> dict[str, Any]:
    fields = record._asdict()
    for name in ("end", "last"):
        if fields[name] is not None:
            fields[name] = fields[name]._asdict()
    return fields


def _record_from_json(fields: dict[str, Any]) -> Record:
    ends = {name: End(**fields[name]) for name in ("end", "last") if fields[name] is not None}
    return Record(**{**fields, **ends})
