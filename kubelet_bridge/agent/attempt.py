"""What is remembered of an attempt to replace the agent, and what follows from it; ``load`` and ``save`` do I/O."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from kubelet_bridge.agent.config import AgentFile
from kubelet_bridge.agent.files import read_json, write_json

STARTS = 3
"""So often an agent is started without being welcomed."""
TRIALS = 3
"""So often a digest is tried: an agent may also not be welcomed because the bridge is away just then."""
PAUSE_SECONDS = 3600.0
"""Before the second trial; twice as long before the third."""
_REMEMBERED = 10


class Failure(NamedTuple):
    """A digest that was given up ``times`` times, at last ``at`` (seconds since the epoch)."""

    digest: str
    times: int
    at: float


class Attempt(NamedTuple):
    """``update.json``: what was tried.

    Attributes:
        trying: digest of the agent on probation; empty when there is none.
        previous: digest of the one before it.
        starts: how often it was started.
        failures: one per digest.
    """

    trying: str = ""
    previous: str = ""
    starts: int = 0
    failures: tuple[Failure, ...] = ()

    def failure(self, digest: str) -> Failure:
        """What is remembered of this digest."""
        return next((one for one in self.failures if one.digest == digest), Failure(digest, 0, 0.0))


def load(path: Path) -> Attempt:
    """What was kept, or nothing."""
    document = read_json(path) or {}
    try:
        return Attempt(
            trying=str(document.get("trying", "")),
            previous=str(document.get("previous", "")),
            starts=int(document.get("starts", 0)),
            failures=tuple(Failure(str(one[0]), int(one[1]), float(one[2])) for one in document.get("failures", [])),
        )
    except (TypeError, ValueError, LookupError):
        return Attempt()


def save(path: Path, attempt: Attempt) -> None:
    """Keep it; blocks for as long as the disk takes.

    Raises:
        OSError: there is no room.
    """
    document: dict[str, Any] = attempt._asdict()
    write_json(path, {**document, "failures": [list(one) for one in attempt.failures[-_REMEMBERED:]]})


def started(attempt: Attempt, own: str) -> Attempt:
    """Count a start of the agent ``own``.

    Another one on probation than ours was never begun: the power failed in between, or somebody put us back.
    """
    if not attempt.trying:
        return attempt
    if attempt.trying != own:
        return attempt._replace(trying="", previous="", starts=0)
    return attempt._replace(starts=attempt.starts + 1)


def is_hopeless(attempt: Attempt, own: str) -> bool:
    """Whether the agent on probation has been started too often to go on."""
    return bool(attempt.trying) and attempt.trying == own and attempt.starts > STARTS


def passed(attempt: Attempt) -> Attempt:
    """The agent on probation was welcomed."""
    others = tuple(one for one in attempt.failures if one.digest != attempt.trying)
    return Attempt(failures=others)


def given_up(attempt: Attempt, now: float) -> Attempt:
    """The agent on probation has failed."""
    others = tuple(one for one in attempt.failures if one.digest != attempt.trying)
    again = Failure(attempt.trying, attempt.failure(attempt.trying).times + 1, now)
    return Attempt(failures=(*others, again))


def is_wanted(offer: AgentFile, own: str, attempt: Attempt, now: float) -> bool:
    """Whether to replace ourselves by ``offer`` now. One that runs from a source tree has no digest and stays."""
    failure = attempt.failure(offer.digest)
    if not offer.digest or not own or offer.digest == own or failure.times >= TRIALS:
        return False
    return not failure.times or not 0 <= now - failure.at < PAUSE_SECONDS * 2 ** (failure.times - 1)
