"""The lifecycle of a Pod, told as stories."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest

from kubelet_bridge.agent.driver import RunError
from kubelet_bridge.agent.v1 import agent_pb2 as pb

from .world import World, container, manifest, settle


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.machine.close()


async def test_containers_start_and_are_ready(world: World) -> None:
    async with world.agent(manifest("a", "b")) as pod:
        await world.clock.advance(5)
        assert sorted(world.machine.alive()) == ["a", "b"]
        said = world.container("a")
        assert (said.running.started_at, said.started, said.ready, said.restart_count) == (
            world.machine.newest("a").started_at,
            True,
            True,
            0,
        )
        assert said.image_id == "a:1@sha256:0"
        run = pod.run_of("a")
        assert run is not None
        assert run.id == said.container_id
        assert [(e.reason, e.message) for e in world.link.events if e.container == "a"] == [
            ("Pulling", 'Pulling image "a:1"'),
            ("Pulled", 'Successfully pulled image "a:1" in 500ms'),
            ("Created", "Created container: a"),
            ("Started", "Started container a"),
        ]
        assert not world.report.finished


async def test_init_containers_run_in_order_and_sidecars_are_waited_for(world: World) -> None:
    world.machine.script = {"first": [(2, 0)], "last": [(2, 0)]}
    side = container("side", sidecar=True, startup=pb.Probe())
    pod = manifest("main", init=(container("first"), side, container("last")))
    async with world.agent(pod):
        await world.clock.advance(1)
        assert world.container("main").waiting.reason == "PodInitializing"
        assert world.machine.alive() == ["first"]
        await world.clock.advance(5)
        assert world.machine.alive() == ["side"]
        assert world.container("first").ready
        await world.clock.advance(60)
        assert world.machine.alive() == ["side"]
        world.verdict("side", "startup", passing=True)
        await world.clock.advance(10)
        assert world.machine.journal == [
            "start first",
            "end first",
            "start side",
            "start last",
            "end last",
            "start main",
        ]
        assert sorted(world.machine.alive()) == ["main", "side"]


async def test_crash_loop_waits_ten_seconds_doubling_to_five_minutes(world: World) -> None:
    world.machine.script = {"a": [(1, 3)]}
    async with world.agent(manifest("a")):
        starts = []
        while len(starts) < 9:
            run_count = world.machine.journal.count("start a")
            if run_count > len(starts):
                starts.append(world.clock.seconds)
            await world.clock.advance(0.5)
        gaps = [round(b - a - 1.5) for a, b in itertools.pairwise(starts)]
        assert gaps == [0, 10, 20, 40, 80, 160, 300, 300]
        await world.clock.advance(3)
        said = world.container("a")
        assert said.waiting.reason == "CrashLoopBackOff"
        assert said.waiting.message == "back-off 5m0s restarting failed container=a pod=web_shop(uid-1)"
        assert (said.last_terminated.exit_code, said.last_terminated.reason) == (3, "Error")
        assert said.restart_count == 8
        assert world.told("BackOff")[0] == "Back-off restarting failed container a in pod web_shop(uid-1)"
        assert len(world.told("BackOff")) == 8


async def test_ten_minutes_of_running_forget_the_back_off(world: World) -> None:
    world.machine.script = {"a": [(1, 1), (1, 1), (1, 1), (700, 1), (1, 1)]}
    async with world.agent(manifest("a")):
        await world.clock.advance(60)
        assert world.machine.newest("a").attempt == 3
        while world.machine.newest("a").attempt == 3:
            await world.clock.advance(0.5)
        await world.clock.advance(3)
        assert world.machine.newest("a").attempt == 4
        assert world.container("a").waiting.message.startswith("back-off 10s ")


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        (pb.RESTART_POLICY_ALWAYS, 0, True),
        (pb.RESTART_POLICY_ALWAYS, 1, True),
        (pb.RESTART_POLICY_ON_FAILURE, 0, False),
        (pb.RESTART_POLICY_ON_FAILURE, 1, True),
        (pb.RESTART_POLICY_NEVER, 0, False),
        (pb.RESTART_POLICY_NEVER, 3, False),
    ],
)
async def test_restart_policy(world: World, policy: pb.RestartPolicy.ValueType, code: int, again: bool) -> None:
    world.machine.script = {"a": [(1, code), (1000, 0)]}
    async with world.agent(manifest("a", policy=policy)):
        await world.clock.advance(5)
        assert (world.machine.alive() == ["a"]) is again
        assert world.report.finished is not again
        if not again:
            said = world.container("a").terminated
            assert (said.exit_code, said.reason) == (code, "Error" if code else "Completed")


async def test_sidecars_end_last_and_in_reverse_when_the_pod_is_over(world: World) -> None:
    world.machine.script = {"job": [(5, 0)]}
    sides = (container("one", sidecar=True), container("two", sidecar=True))
    async with world.agent(manifest("job", init=sides, policy=pb.RESTART_POLICY_NEVER)):
        await world.clock.advance(4)
        assert not world.report.finished
        await world.clock.advance(10)
        assert [entry for entry in world.machine.journal if not entry.startswith("start")] == [
            "end job",
            "signal two SIGTERM 30",
            "end two",
            "signal one SIGTERM 29.9",
            "end one",
        ]
        assert world.report.finished
        assert world.container("job").terminated.exit_code == 0


async def test_sidecar_that_ends_is_started_again_beside_the_others(world: World) -> None:
    world.machine.script = {"side": [(5, 0), (1000, 0)]}
    async with world.agent(manifest("a", init=(container("side", sidecar=True),), policy=pb.RESTART_POLICY_NEVER)):
        await world.clock.advance(20)
        assert sorted(world.machine.alive()) == ["a", "side"]
        assert world.container("side").restart_count == 1
        assert world.machine.journal.count("start a") == 1


async def test_failed_init_container_ends_a_pod_that_never_restarts(world: World) -> None:
    world.machine.script = {"init": [(1, 7)]}
    init = (container("side", sidecar=True), container("init"))
    async with world.agent(manifest("a", init=init, policy=pb.RESTART_POLICY_NEVER)):
        await world.clock.advance(20)
        assert world.machine.alive() == []
        assert world.report.finished
        assert world.container("init").terminated.exit_code == 7
        assert world.container("a").waiting.reason == "PodInitializing"


async def test_failed_init_container_is_tried_again(world: World) -> None:
    world.machine.script = {"init": [(1, 7), (1, 7), (1, 0)]}
    async with world.agent(manifest("a", init=(container("init"),))):
        await world.clock.advance(8)
        assert world.container("init").waiting.reason == "CrashLoopBackOff"
        await world.clock.advance(20)
        assert world.machine.alive() == ["a"]
        assert world.container("init").restart_count == 2


async def test_image_that_cannot_be_pulled(world: World) -> None:
    world.machine.images["a:1"] = RunError("ErrImagePull", "manifest unknown")
    async with world.agent(manifest("a", "b")):
        await world.clock.advance(1)
        assert (world.container("a").waiting.reason, world.container("a").waiting.message) == (
            "ErrImagePull",
            "manifest unknown",
        )
        await world.clock.advance(4)
        said = world.container("a").waiting
        assert said.reason == "ImagePullBackOff"
        assert said.message == 'Back-off pulling image "a:1": ErrImagePull: manifest unknown'
        assert world.told("Failed")[:2] == ['Failed to pull image "a:1": manifest unknown', "Error: ErrImagePull"]
        assert world.machine.alive() == ["b"]
        world.machine.images.clear()
        await world.clock.advance(10)
        assert sorted(world.machine.alive()) == ["a", "b"]
        assert world.container("a").restart_count == 0


async def test_container_that_cannot_be_started_counts_as_a_run(world: World) -> None:
    world.machine.broken["a"] = RunError("RunContainerError", 'exec: "nope": not found', exit_code=128)
    async with world.agent(manifest("a")):
        await world.clock.advance(2)
        said = world.container("a")
        assert said.waiting.reason == "RunContainerError"
        assert (said.last_terminated.exit_code, said.last_terminated.reason) == (128, "StartError")
        await world.clock.advance(10)
        assert world.container("a").restart_count == 1
        await world.clock.advance(2)
        assert world.container("a").waiting.reason == "CrashLoopBackOff"


async def test_container_that_cannot_be_made_is_no_run(world: World) -> None:
    world.machine.broken["a"] = RunError(
        "CreateContainerConfigError", "container has runAsNonRoot and image will run as root"
    )
    async with world.agent(manifest("a")):
        await world.clock.advance(60)
        said = world.container("a")
        assert (said.waiting.reason, said.restart_count) == ("CreateContainerConfigError", 0)
        assert not said.HasField("last_terminated")
        world.machine.broken.clear()
        await world.clock.advance(11)
        assert world.machine.alive() == ["a"]


async def test_volume_that_cannot_be_mounted_holds_up_everything(world: World) -> None:
    world.machine.volumes = RunError("FailedMount", "no such disk")
    async with world.agent(manifest("a")):
        await world.clock.advance(5)
        assert (world.report.reason, world.report.message) == ("FailedMount", "no such disk")
        assert world.container("a").waiting.reason == "ContainerCreating"
        world.machine.volumes = None
        await world.clock.advance(30)
        assert world.machine.alive() == ["a"]
        assert world.report.reason == ""


async def test_failed_liveness_restarts_within_the_probes_grace(world: World) -> None:
    world.machine.stubborn.add("a")
    probe = pb.Probe(termination_grace_seconds=4)
    async with world.agent(manifest(containers=(container("a", liveness=probe),))):
        await world.clock.advance(5)
        world.verdict("a", "liveness", passing=False)
        await world.clock.advance(3)
        assert world.told("Killing") == ["Container a failed liveness probe, will be restarted"]
        assert world.machine.journal[-1] == "signal a SIGTERM 4"
        await world.clock.advance(5)
        assert world.machine.journal[-1] == "start a"
        said = world.container("a")
        assert (said.restart_count, said.last_terminated.exit_code, said.last_terminated.signal) == (1, 137, 9)


async def test_startup_and_readiness(world: World) -> None:
    probed = container("a", startup=pb.Probe(), readiness=pb.Probe())
    async with world.agent(manifest(containers=(probed,))):
        await world.clock.advance(5)
        assert (world.container("a").started, world.container("a").ready) == (False, False)
        world.verdict("a", "startup", passing=True)
        await settle()
        assert (world.container("a").started, world.container("a").ready) == (True, False)
        world.verdict("a", "readiness", passing=True)
        await settle()
        assert world.container("a").ready
        world.verdict("a", "readiness", passing=False)
        await settle()
        assert not world.container("a").ready
        assert world.machine.alive() == ["a"]


async def test_failed_post_start_kills_and_restarts(world: World) -> None:
    world.hooks.failing.add("a")
    async with world.agent(manifest(containers=(container("a", post_start=pb.Handler(sleep_seconds=1)),))):
        await world.clock.advance(1)
        assert not world.container("a").started
        await world.clock.advance(1)
        assert world.told("FailedPostStartHook") == ["PostStartHook failed: exit code 1"]
        world.hooks.failing.clear()
        await world.clock.advance(30)
        assert world.container("a").started
        assert world.container("a").restart_count == 1


async def test_stop_runs_pre_stop_within_the_grace_and_sidecars_last(world: World) -> None:
    world.machine.stubborn.add("a")
    side = container("side", sidecar=True, pre_stop=pb.Handler(sleep_seconds=1))
    main = container("a", pre_stop=pb.Handler(sleep_seconds=4), stop_signal="SIGQUIT")
    async with world.agent(manifest("b", init=(side,), containers=(main,))) as pod:
        await world.clock.advance(5)
        world.machine.journal.clear()
        stopping = settle_later(pod.stop(10, "deleted"))
        await world.clock.advance(20)
        await stopping
        assert sorted(world.machine.journal[:3]) == ["preStop a", "preStop side", "signal b SIGTERM 10"]
        assert world.machine.journal[3:5] == ["end b", "signal a SIGQUIT 6"]
        assert sorted(world.machine.journal[5:]) == ["end a", "end side", "signal side SIGTERM 2"]
        assert world.container("a").terminated.exit_code == 137
        assert world.container("b").terminated.exit_code == 143
        assert not world.report.finished
        await world.clock.advance(600)
        assert world.machine.alive() == []


def settle_later(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(work)


async def test_stop_interrupts_a_start(world: World) -> None:
    world.machine.images["a:1"] = RunError("ErrImagePull", "no")
    async with world.agent(manifest("a")) as pod:
        await world.clock.advance(1)
        await pod.stop(30, "deleted")
        await world.clock.advance(600)
        assert world.machine.journal == []


async def test_stopped_pod_stays_so_until_the_next_boot_of_the_kernel(world: World) -> None:
    async with world.agent(manifest("a")) as pod:
        await world.clock.advance(5)
        stopping = settle_later(pod.stop(10, "power off"))
        await world.clock.advance(5)
        await stopping
    async with world.agent(manifest("a")):
        await world.clock.advance(600)
        assert world.machine.alive() == []
    world.boot_id = "kernel-2"
    async with world.agent(manifest("a")):
        await world.clock.advance(10)
        assert world.machine.alive() == ["a"]
        assert world.container("a").restart_count == 1


async def test_new_image_replaces_the_container(world: World) -> None:
    pod = manifest("a", "b", policy=pb.RESTART_POLICY_NEVER)
    async with world.agent(pod) as agent:
        await world.clock.advance(5)
        changed = pb.PodManifest()
        changed.CopyFrom(pod)
        changed.containers[0].image = "a:2"
        changed.revision = "2"
        agent.apply(changed)
        await world.clock.advance(5)
        assert world.told("Killing") == ["Container a definition changed, will be restarted"]
        said = world.container("a")
        assert (said.image, said.restart_count, said.last_terminated.exit_code) == ("a:2", 1, 143)
        assert world.container("b").restart_count == 0
        assert world.report.manifest_revision == "2"


async def test_nothing_else_that_changes_restarts_a_container(world: World) -> None:
    pod = manifest("a", "b")
    pod.containers[0].env.add(name="PASSWORD", value="old")
    pod.containers[0].mounts.add(volume="config", path="/config")
    async with world.agent(pod) as agent:
        await world.clock.advance(5)
        before = {name: world.container(name).container_id for name in ("a", "b")}
        changed = pb.PodManifest()
        changed.CopyFrom(pod)
        changed.revision, changed.files_revision, changed.pod_ip = "2", "2", "10.0.0.9"
        changed.containers[0].env[0].value = "new"
        changed.containers[1].resources.memory_limit_bytes = 1 << 20
        changed.containers[1].liveness.period_seconds = 3
        changed.volumes.add(name="config").files.files.add(path="key", content=b"new")
        changed.pull_credentials.add(registry="registry.example", password="new")
        changed.ssh_keys.lines.append("ssh-ed25519 AAAA")
        agent.apply(changed)
        await world.clock.advance(60)
        assert {name: world.container(name).container_id for name in ("a", "b")} == before
        assert world.told("Killing") == []
        assert world.report.manifest_revision == "2"


async def test_ephemeral_container_starts_once(world: World) -> None:
    world.machine.script = {"debug": [(2, 0)]}
    pod = manifest("a")
    async with world.agent(pod) as agent:
        await world.clock.advance(5)
        more = pb.PodManifest()
        more.CopyFrom(pod)
        more.ephemeral_containers.append(container("debug", target="a"))
        agent.apply(more)
        await world.clock.advance(100)
        assert world.machine.journal.count("start debug") == 1
        assert world.container("debug").terminated.reason == "Completed"


async def test_oom_and_termination_message(world: World) -> None:
    async with world.agent(manifest("a")):
        await world.clock.advance(5)
        world.machine.end("a-0-boot-1", 137, 9, oom=True, message="x" * 5000)
        await world.clock.advance(5)
        said = world.container("a").last_terminated
        assert (said.reason, said.exit_code, len(said.message)) == ("OOMKilled", 137, 4096)


async def test_message_falls_back_to_the_log_on_error(world: World, tmp_path: Path) -> None:
    fallback = container("a", termination_message_policy=pb.TERMINATION_MESSAGE_POLICY_FALLBACK_TO_LOGS_ON_ERROR)
    async with world.agent(manifest(containers=(fallback,), policy=pb.RESTART_POLICY_NEVER)):
        await world.clock.advance(5)
        run = world.machine.newest("a")
        log = tmp_path / "log"
        log.write_text("2016-10-06T00:17:09.669794202Z stderr P out of \n2016-10-06T00:17:09.7Z stderr F paper\n")
        world.machine.runs[run.id] = run._replace(log_path=str(log))
    async with world.agent(manifest(containers=(fallback,), policy=pb.RESTART_POLICY_NEVER)):
        world.machine.end(run.id, 1)
        await world.clock.advance(5)
        while not world.report.finished:
            await asyncio.sleep(0.01)
        assert world.container("a").terminated.message == "out of paper\n"


async def test_new_boot_begins_anew_with_the_restart_base(world: World) -> None:
    world.machine.script = {"init": [(1, 0)]}
    async with world.agent(manifest("a", init=(container("init"),))):
        await world.clock.advance(5)
    again = manifest(
        init=(container("init", restart_base=0),), containers=(container("a", restart_base=4),), boot="boot-2"
    )
    async with world.agent(again):
        await world.clock.advance(10)
        assert world.machine.journal.count("start init") == 2
        assert world.container("a").restart_count == 4
        assert [run.boot for run in world.machine.runs.values()] == ["boot-2", "boot-2"]


async def test_agent_restart_touches_nothing_and_notices_what_happened(world: World) -> None:
    world.machine.script = {"init": [(1, 0)], "b": [(10, 5), (1000, 0)]}
    pod = manifest("a", "b", init=(container("init"),))
    async with world.agent(pod):
        await world.clock.advance(5)
    await world.clock.advance(20)
    world.disk.content = ""
    async with world.agent(pod):
        await world.clock.advance(10)
        assert [world.machine.journal.count(f"start {name}") for name in ("init", "a", "b")] == [1, 1, 2]
        said = world.container("b")
        assert (said.restart_count, said.last_terminated.exit_code) == (1, 5)
        assert world.container("a").ready


async def test_nothing_starts_before_it_is_known_what_runs(world: World) -> None:
    world.machine.silent = RunError("RuntimeError", "podman does not answer")
    async with world.agent(manifest("a")):
        await world.clock.advance(15)
        assert world.machine.alive() == []
        world.machine.silent = None
        await world.clock.advance(15)
        assert world.machine.alive() == ["a"]
