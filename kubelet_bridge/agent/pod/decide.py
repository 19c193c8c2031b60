"""What is to be done next with a Pod's containers: values in, actions out.

The rules are the kubelet's (pkg/kubelet/kuberuntime: computePodActions, computeInitContainerActions and killContainer's
termination order) with KEP-753's sidecars. Nothing is remembered here: the same situation gives the same actions, and
an action that is already under way (``busy``) is not given again.
"""

from __future__ import annotations

from typing import Mapping, NamedTuple, Union

from kubelet_bridge.agent.pod import backoff
from kubelet_bridge.agent.pod.policy import EPHEMERAL, INIT, MAIN, SIDECAR, Member, inits, mains, members, starts_again
from kubelet_bridge.agent.pod.record import Memory, Record
from kubelet_bridge.agent.v1 import agent_pb2 as pb


class Fault(NamedTuple):
    """A liveness or startup probe has failed its threshold in this run.

    Attributes:
        probe: ``liveness`` or ``startup``.
        grace: the probe's own termination grace in seconds; None: the Pod's.
    """

    run: str
    probe: str
    grace: float | None = None


class Situation(NamedTuple):
    """All that a decision depends on.

    Attributes:
        faults: by container; those of an older run count for nothing.
        busy: containers that are being started or killed just now.
        holds: not to be started before (nanoseconds since the epoch), because an attempt has failed.
        now: nanoseconds since the epoch.
    """

    manifest: pb.PodManifest
    memory: Memory
    faults: Mapping[str, Fault]
    busy: set[str]
    holds: Mapping[str, int]
    now: int


class Start(NamedTuple):
    """Start a container's next run."""

    container: str
    attempt: int


class Kill(NamedTuple):
    """End a running container: preStop, signal, and after ``grace`` seconds by force.

    Attributes:
        why: the words of the Killing event.
        replace: it is to start again whatever the restart policy.
        after: the signal waits until these have ended, or until the grace is over; preStop does not.
    """

    container: str
    grace: float
    why: str
    replace: bool = False
    after: tuple[str, ...] = ()


Action = Union[Start, Kill]


class Decision(NamedTuple):
    """What to do now.

    Attributes:
        held: containers in crash-loop back-off, with its seconds.
        wake_at: decide again then even if nothing happens; None: only when something does.
        finished: nothing runs, and by the restart policy nothing will be started again.
    """

    actions: tuple[Action, ...] = ()
    held: Mapping[str, float] = {}
    wake_at: int | None = None
    finished: bool = False


def decide(situation: Situation) -> Decision:
    """The next actions for this situation."""
    over_at = pod_over(situation.manifest, situation.memory, situation.busy)
    grace = situation.manifest.termination_grace_seconds * backoff.SECOND
    if situation.memory.stop is not None:
        decision = _end_all(situation, situation.memory.stop.deadline)
    elif over_at is not None:
        decision = _end_all(situation, over_at + grace)
    else:
        return _Walk(situation).decision()
    return decision._replace(finished=over_at is not None and not _alive(situation))


def pod_over(manifest: pb.PodManifest, memory: Memory, busy: set[str]) -> int | None:
    """When the last container that matters ended, if by the restart policy none will run again; else None."""
    last = 0
    for member in inits(manifest):
        record = memory.of(member.container.name)
        failed = member.part == INIT and record.end is not None and record.end.exit_code != 0
        if failed and record.end is not None and not starts_again(manifest, INIT, record):
            return record.end.finished_at
    for member in mains(manifest):
        record = memory.of(member.container.name)
        if record.end is None or member.container.name in busy or starts_again(manifest, MAIN, record):
            return None
        last = max(last, record.end.finished_at)
    return last


def next_attempt(container: pb.Container, record: Record) -> int:
    """The restart count of the next run."""
    return record.attempt + 1 if record.known else container.restart_base


def _alive(situation: Situation) -> bool:
    return bool(situation.busy) or any(
        situation.memory.of(member.container.name).running for member in members(situation.manifest)
    )


def _end_all(situation: Situation, deadline: int) -> Decision:
    """End everything: sidecars after main, init and ephemeral containers, and each after those that follow it.

    A container gets what is left until the deadline; whoever kills it allows two seconds at the least.
    """
    grace = max(0.0, (deadline - situation.now) / backoff.SECOND)
    sidecars = [member for member in reversed(inits(situation.manifest)) if member.part == SIDECAR]
    others = [member for member in members(situation.manifest) if member.part != SIDECAR]
    before: tuple[str, ...] = tuple(member.container.name for member in others)
    order: list[tuple[str, tuple[str, ...]]] = [(name, ()) for name in before]
    for member in sidecars:
        order.append((member.container.name, before))
        before += (member.container.name,)
    return Decision(
        tuple(
            Kill(name, grace, f"Stopping container {name}", after=after)
            for name, after in order
            if name not in situation.busy and situation.memory.of(name).running
        )
    )


class _Walk:
    """One walk through a Pod that is not to end: init containers in order, then the rest."""

    def __init__(self, situation: Situation) -> None:
        self._now = situation
        self._actions: list[Action] = []
        self._held: dict[str, float] = {}
        self._wakes: list[int] = []

    def decision(self) -> Decision:
        manifest = self._now.manifest
        if self._initialized():
            for member in mains(manifest):
                self._keep(member)
        for member in members(manifest):
            if member.part == EPHEMERAL:
                self._keep(member)
        return Decision(tuple(self._actions), self._held, min(self._wakes, default=None), finished=False)

    def _record(self, member: Member) -> Record:
        return self._now.memory.of(member.container.name)

    def _initialized(self) -> bool:
        """Advance the init containers; whether all of them are behind us.

        What comes before one that has been started was passed already: it holds up nothing and, unless it is a sidecar,
        never runs again.
        """
        order = inits(self._now.manifest)
        reached = max((i for i, member in enumerate(order) if self._record(member).known), default=-1)
        if any(self._record(member).known for member in mains(self._now.manifest)):
            reached = len(order)
        for i, member in enumerate(order):
            if member.part == SIDECAR:
                self._keep(member)
                passed = self._record(member).running and self._record(member).started
            else:
                end = self._record(member).end
                passed = end is not None and end.exit_code == 0
                if i >= reached and not passed:
                    self._keep(member)
            if i >= reached and not passed:
                return False
        return True

    def _keep(self, member: Member) -> None:
        """Start a container that is to run, kill one that is not to run as it does."""
        name, record = member.container.name, self._record(member)
        if name in self._now.busy:
            return
        if record.running:
            kill = self._fault(member, record)
            if kill is not None:
                self._actions.append(kill)
        elif starts_again(self._now.manifest, member.part, record):
            self._start(member, record)

    def _start(self, member: Member, record: Record) -> None:
        name = member.container.name
        due = backoff.due(record)
        if due > self._now.now:
            self._held[name] = record.delay
        due = max(due, self._now.holds.get(name, 0))
        if due > self._now.now:
            self._wakes.append(due)
        else:
            self._actions.append(Start(name, next_attempt(member.container, record)))

    def _fault(self, member: Member, record: Record) -> Kill | None:
        """Why a running container must not go on, if so: another image, or a probe."""
        if member.part not in (MAIN, SIDECAR):
            return None
        name, grace = member.container.name, float(self._now.manifest.termination_grace_seconds)
        if record.image != member.container.image:
            why = f"Container {name} definition changed, will be restarted"
            return Kill(name, grace, why, replace=True)
        fault = self._now.faults.get(name)
        if fault is None or fault.run != record.run:
            return None
        again = member.part == SIDECAR or self._now.manifest.restart_policy != pb.RESTART_POLICY_NEVER
        why = f"Container {name} failed {fault.probe} probe" + (", will be restarted" if again else "")
        return Kill(name, grace if fault.grace is None else fault.grace, why)
