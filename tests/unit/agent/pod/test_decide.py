"""Properties of the decision, for any Pod in any situation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.agent.pod.decide import Kill, Situation, Start, decide
from kubelet_bridge.agent.pod.policy import EPHEMERAL, INIT, MAIN, SIDECAR, members
from kubelet_bridge.agent.pod.record import End, Memory, Record, Stop
from kubelet_bridge.agent.v1 import agent_pb2 as pb

from .world import EPOCH, container

NAMES = ["i1", "s1", "i2", "s2", "m1", "m2", "e1"]


def pod(policy: pb.RestartPolicy.ValueType) -> pb.PodManifest:
    return pb.PodManifest(
        init_containers=[
            container("i1"),
            container("s1", sidecar=True),
            container("i2"),
            container("s2", sidecar=True),
        ],
        containers=[container("m1"), container("m2")],
        ephemeral_containers=[container("e1")],
        restart_policy=policy,
        termination_grace_seconds=30,
    )


@st.composite
def record(draw: st.DrawFn, name: str) -> Record:
    attempt = draw(st.integers(-1, 3))
    if attempt < 0:
        return Record()
    code = draw(st.sampled_from([None, 0, 1, 137]))
    end = None if code is None else End(code, 0, "", "", EPOCH, EPOCH, "")
    image = draw(st.sampled_from([f"{name}:1", f"{name}:0"]))
    return Record(attempt, f"{name}-{attempt}", image, started_at=EPOCH, end=end, started=draw(st.booleans()))


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    policies = [pb.RESTART_POLICY_ALWAYS, pb.RESTART_POLICY_ON_FAILURE, pb.RESTART_POLICY_NEVER]
    known = {name: draw(record(name)) for name in NAMES}
    stop = draw(st.none() | st.just(Stop(EPOCH, "", "")))
    busy = draw(st.sets(st.sampled_from(NAMES), max_size=2))
    return Situation(pod(draw(st.sampled_from(policies))), Memory("b", known, stop), {}, busy, {}, EPOCH)


@given(situations())
def test_nothing_is_started_that_runs_and_nothing_killed_that_does_not(situation: Situation) -> None:
    for action in decide(situation).actions:
        running = situation.memory.of(action.container).running
        assert running is isinstance(action, Kill)
        assert action.container not in situation.busy


@given(situations())
def test_one_action_per_container_and_the_next_attempt(situation: Situation) -> None:
    actions = decide(situation).actions
    assert len({action.container for action in actions}) == len(actions)
    for action in actions:
        if isinstance(action, Start):
            assert action.attempt == situation.memory.of(action.container).attempt + 1


@given(situations())
def test_finished_means_that_nothing_runs_and_nothing_is_started(situation: Situation) -> None:
    decision = decide(situation)
    if decision.finished:
        assert not decision.actions
        assert not any(situation.memory.of(name).running for name in NAMES)
        later = situation._replace(now=EPOCH * 2, memory=situation.memory._replace(stop=None))
        assert not decide(later).actions


@given(situations())
def test_stopping_starts_nothing_and_kills_all_with_sidecars_waiting(situation: Situation) -> None:
    if situation.memory.stop is None:
        return
    actions = decide(situation).actions
    running = {name for name in NAMES if situation.memory.of(name).running}
    assert {action.container for action in actions} == running - situation.busy
    for action in actions:
        assert isinstance(action, Kill)
        if action.container == "s1":
            assert {"m1", "m2", "s2"} <= set(action.after)
        elif action.container == "s2":
            assert "s1" not in action.after
        else:
            assert not action.after


@given(situations())
def test_main_containers_start_only_after_every_init_container(situation: Situation) -> None:
    parts = {member.container.name: member.part for member in members(situation.manifest)}
    begun = any(situation.memory.of(name).known for name, part in parts.items() if part == MAIN)
    for action in decide(situation).actions:
        if isinstance(action, Start) and parts[action.container] == MAIN and not begun:
            last = situation.memory.of("s2")
            assert last.running
            assert last.started
        if isinstance(action, Start) and parts[action.container] == INIT:
            assert not begun


@given(situations())
def test_what_ended_for_good_stays_so(situation: Situation) -> None:
    parts = {member.container.name: member.part for member in members(situation.manifest)}
    for action in decide(situation).actions:
        end = situation.memory.of(action.container).end
        if not isinstance(action, Start) or end is None or parts[action.container] == SIDECAR:
            continue
        assert parts[action.container] != EPHEMERAL
        assert situation.manifest.restart_policy != pb.RESTART_POLICY_NEVER
        if situation.manifest.restart_policy == pb.RESTART_POLICY_ON_FAILURE or parts[action.container] == INIT:
            assert end.exit_code != 0
