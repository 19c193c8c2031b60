"""What is remembered of an attempt to replace the agent, and what follows from it; ``load`` and ``save`` do I/O."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from kubelet_bridge.agent.config import AgentFile
from kubelet_bridge.agent.files import read_json, write_json

STARTS = 3
"""So often an agent is started without being welcomed."""


class Attempt(NamedTuple):
    """``update.json``: what was tried.

    Attributes:
        trying: digest of the agent on probation; empty when there is none.
        previous: digest of the one before it.
        starts: how often it was started.
        failed: digests that are not tried again.
    """

    trying: str = ""
    previous: str = ""
    starts: int = 0
    failed: tuple[str, ...] = ()


def load(path: Path) -> Attempt:
    """What was kept, or nothing."""
    document = read_json(path) or {}
    failed = document.get("failed")
    return Attempt(
        trying=str(document.get("trying", "")),
        previous=str(document.get("previous", "")),
        starts=int(document.get("starts", 0)),
        failed=tuple(str(one) for one in failed) if isinstance(failed, list) else (),
    )


def save(path: Path, attempt: Attempt) -> None:
    """Keep it; blocks for as long as the disk takes."""
    write_json(path, {**attempt._asdict(), "failed": list(attempt.failed[-10:])})


def started(attempt: Attempt, own: str) -> Attempt:
    """Count a start of the agent ``own``."""
    return attempt._replace(starts=attempt.starts + 1) if attempt.trying and attempt.trying == own else attempt


def is_hopeless(attempt: Attempt, own: str) -> bool:
    """Whether the agent on probation has been started too often to go on."""
    return attempt.trying == own and attempt.starts > STARTS


def passed(attempt: Attempt) -> Attempt:
    """The agent on probation was welcomed."""
    return attempt._replace(trying="", previous="", starts=0)


def given_up(attempt: Attempt) -> Attempt:
    """The agent on probation has failed."""
    return Attempt(failed=(*attempt.failed, attempt.trying))


def is_wanted(offer: AgentFile, own: str, attempt: Attempt) -> bool:
    """Whether to replace ourselves by ``offer``. An agent that runs from a source tree has no digest and stays."""
    return bool(offer.digest and own and offer.digest not in (own, attempt.trying, *attempt.failed))
