"""What is remembered of a Pod's containers, and how it changes; values only."""

from __future__ import annotations

from typing import Mapping, NamedTuple

from kubelet_bridge.agent.driver import Exit, Run, RunError
from kubelet_bridge.agent.pod import backoff


class End(NamedTuple):
    """How a run ended, in the words of a container status; times are nanoseconds since the epoch."""

    exit_code: int
    signal: int
    reason: str
    message: str
    started_at: int
    finished_at: int
    container_id: str


class Record(NamedTuple):
    """One container: its newest run and what came before.

    Attributes:
        attempt: the newest run's restart count; -1 before the first run.
        run: the driver's name of the newest run; empty when it could not even be started.
        end: how the newest run ended; None while it runs.
        last: how the run before it ended.
        hooked: its postStart hook is over, or it has none.
        started: hooked, and past the startup probe.
        ready: what the readiness probe last said.
        replace: it was killed to run another image, so it starts again whatever the restart policy.
        delay: seconds between its last end and its next start, as of ``touched``; 0 means none yet.
    """

    attempt: int = -1
    run: str = ""
    image: str = ""
    image_id: str = ""
    started_at: int = 0
    end: End | None = None
    last: End | None = None
    hooked: bool = False
    started: bool = False
    ready: bool = False
    replace: bool = False
    delay: float = 0.0
    touched: int = 0

    @property
    def known(self) -> bool:
        """It has been started at least once in this boot, or its start has been tried."""
        return self.attempt >= 0

    @property
    def running(self) -> bool:
        """As far as it is known."""
        return self.known and self.end is None


class Stop(NamedTuple):
    """The Pod is being stopped, by the deadline (nanoseconds since the epoch), in this boot of the kernel."""

    deadline: int
    reason: str
    boot_id: str


class Memory(NamedTuple):
    """Everything that is remembered for one boot of the VM; ``containers`` has an entry for each that has run."""

    boot: str = ""
    containers: Mapping[str, Record] = {}
    stop: Stop | None = None

    def of(self, name: str) -> Record:
        """The container's record; an empty one when it has none."""
        return self.containers.get(name, NEVER)

    def with_record(self, name: str, record: Record) -> Memory:
        """The same with one record replaced."""
        return self._replace(containers={**self.containers, name: record})


NEVER = Record()


def adopt(record: Record, run: Run) -> Record:
    """The record once ``run`` is the newest run; the same record when it already is, or when the run is older."""
    if run.attempt < record.attempt or (run.attempt == record.attempt and record.run in {run.id, ""}):
        return record
    replaced = record.replace
    delay, touched = (0.0, 0) if replaced else backoff.after_start(record, run.started_at)
    return Record(
        attempt=run.attempt,
        run=run.id,
        image=run.image,
        image_id=run.image_id,
        started_at=run.started_at,
        last=record.end or record.last,
        delay=delay,
        touched=touched,
    )


def stillborn(record: Record, attempt: int, image: str, error: RunError, now: int) -> Record:
    """The record after a container was made but could not be started."""
    delay, touched = (0.0, 0) if record.replace else backoff.after_start(record, now)
    end = End(error.exit_code, 0, "StartError", error.message, 0, now, "")
    return Record(attempt, "", image, end=end, last=record.end or record.last, delay=delay, touched=touched)


def ended(record: Record, run: Run, over: Exit, message: str) -> Record:
    """The record once its newest run is over; unchanged when ``run`` is not the newest or its end is known."""
    if run.id != record.run or record.end is not None:
        return record
    reason = "OOMKilled" if over.oom_killed else "Completed" if over.exit_code == 0 else "Error"
    started = over.started_at or record.started_at
    end = End(over.exit_code, over.signal, reason, message, started, over.finished_at, run.id)
    return record._replace(end=end, ready=False, started=False)


def lost(record: Record, now: int) -> Record:
    """The record of a run that its runtime knows no more."""
    message = "The container could not be located when the pod was checked"
    end = End(137, 0, "ContainerStatusUnknown", message, record.started_at, now, record.run)
    return record._replace(end=end, ready=False, started=False)
