"""How far the bridge has each run's log, and where in its file that is: kept on disk for the agent after this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from kubelet_bridge.agent.files import read_json, write_json
from kubelet_bridge.agent.logs.tail import Place


class RunKey(NamedTuple):
    """One run of one container."""

    container: str
    attempt: int


class Checkpoint(NamedTuple):
    """A run that is followed.

    Attributes:
        place: from where on it is to be read again: everything before has arrived, or was given up.
        arrived: position of the last record that the bridge acknowledged.
    """

    path: str
    place: Place = Place(0, 0, 0)
    ended: bool = False
    arrived: int = 0


def load(path: Path) -> dict[RunKey, Checkpoint]:
    """What was kept; a damaged file counts as none, and the bridge drops what is then sent twice."""
    document = read_json(path) or {}
    found: dict[RunKey, Checkpoint] = {}
    for entry in document.get("runs", []):
        key = RunKey(str(entry.get("container", "")), int(entry.get("attempt", 0)))
        place = Place(int(entry.get("inode", 0)), int(entry.get("offset", 0)), int(entry.get("position", 0)))
        arrived = int(entry.get("arrived", 0))
        found[key] = Checkpoint(str(entry.get("path", "")), place, bool(entry.get("ended")), arrived)
    return found


def save(path: Path, checkpoints: dict[RunKey, Checkpoint]) -> None:
    """Keep them; blocks for as long as the disk takes."""
    runs: list[dict[str, Any]] = [
        {
            "container": key.container,
            "attempt": key.attempt,
            "path": one.path,
            "ended": one.ended,
            "arrived": one.arrived,
            **one.place._asdict(),
        }
        for key, one in checkpoints.items()
    ]
    write_json(path, {"runs": runs})
