"""The agent is killed at every step of a Pod's life; the next one finishes what was begun, and does nothing twice."""

from __future__ import annotations

from collections import Counter

from kubelet_bridge.agent.v1 import agent_pb2 as pb

from .world import Killed, World, container, manifest

POD = manifest("a", "b", init=(container("init"), container("side", sidecar=True)))
SCRIPT = {"init": [(2.0, 0)], "b": [(3.0, 1), (1000.0, 0)]}


class Bomb:
    """Kills the agent at the n-th step; nothing that a dead agent's tasks try has an effect."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.steps = 0

    def __call__(self) -> None:
        self.steps += 1
        if self.steps >= self.at > 0:
            raise Killed


def changed(pod: pb.PodManifest) -> pb.PodManifest:
    newer = pb.PodManifest()
    newer.CopyFrom(pod)
    newer.containers[0].image = "a:2"
    return newer


async def live(world: World, bomb: Bomb) -> None:
    """A Pod comes up, one container crashes, another gets a new image; the agent may die once, at any moment."""
    world.machine.script = dict(SCRIPT)
    world.step = bomb
    for pod in (POD, changed(POD)):
        async with world.agent(pod):
            await world.clock.advance(30)
        if bomb.steps >= bomb.at > 0:
            world.step = lambda: None
            async with world.agent(pod):
                await world.clock.advance(30)


async def test_agent_killed_at_any_step_does_nothing_twice() -> None:
    calm = World()
    bomb = Bomb(0)
    await live(calm, bomb)
    expected = Counter(entry for entry in calm.machine.journal if entry.startswith("start"))
    assert expected == {"start init": 1, "start side": 1, "start a": 2, "start b": 2}
    await calm.machine.close()
    for at in range(1, bomb.steps + 1):
        world = World()
        await live(world, Bomb(at))
        started = Counter(entry for entry in world.machine.journal if entry.startswith("start"))
        assert started == expected, f"killed at step {at}: {world.machine.journal}"
        assert sorted(world.machine.alive()) == ["a", "b", "side"], f"killed at step {at}"
        assert world.machine.newest("a").image == "a:2"
        signalled = {entry.split()[1] for entry in world.machine.journal if entry.startswith("signal")}
        assert signalled == {"a"}, f"killed at step {at}"
        said = {one.name: one.restart_count for one in world.report.containers}
        assert said == {"a": 1, "b": 1}, f"killed at step {at}"
        await world.machine.close()


async def test_agent_killed_at_any_step_of_a_stop_still_stops_in_order() -> None:
    calm = World()
    bomb = Bomb(0)
    await stop(calm, bomb)
    await calm.machine.close()
    for at in range(1, bomb.steps + 1):
        world = World()
        await stop(world, Bomb(at))
        assert world.machine.alive() == [], f"killed at step {at}"
        ends = [entry for entry in world.machine.journal if entry.startswith("end")]
        assert sorted(ends[:2]) == ["end a", "end b"], f"killed at step {at}"
        assert ends[2:] == ["end side"], f"killed at step {at}"
        assert Counter(world.machine.journal)["start a"] == 1
        await world.machine.close()


async def stop(world: World, bomb: Bomb) -> None:
    pod = manifest("a", "b", init=(container("side", sidecar=True),))
    async with world.agent(pod):
        await world.clock.advance(10)
    world.step = bomb
    for _ in range(2):
        async with world.agent(pod) as agent:
            await world.stop(agent)
        world.step = lambda: None
