"""A world for one Pod: virtual time, a driver that does what a script says, a bridge that keeps what it hears."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import json
from collections.abc import AsyncIterator, Callable

from kubelet_bridge.agent.driver import Exit, Run, RunError
from kubelet_bridge.agent.pod import Pod
from kubelet_bridge.agent.pod.backoff import SECOND
from kubelet_bridge.agent.pod.memory import decode, encode
from kubelet_bridge.agent.pod.ports import HookFailed, Verdict
from kubelet_bridge.agent.pod.record import Memory
from kubelet_bridge.agent.pod.state import Time
from kubelet_bridge.agent.v1 import agent_pb2 as pb

EPOCH = 1_700_000_000 * SECOND


async def settle() -> None:
    """Let everything that can go on without time passing go on."""
    for _ in range(60):
        await asyncio.sleep(0)


class Clock:
    def __init__(self) -> None:
        self.now = EPOCH
        self._timers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0

    @property
    def seconds(self) -> float:
        return (self.now - EPOCH) / SECOND

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._timers, (self.now + int(seconds * SECOND), self._count, future))
        await future

    async def advance(self, seconds: float) -> None:
        until = self.now + int(seconds * SECOND)
        await settle()
        while self._timers and self._timers[0][0] <= until:
            at, _, future = heapq.heappop(self._timers)
            self.now = max(self.now, at)
            if not future.done():
                future.set_result(None)
            await settle()
        self.now = until
        await settle()


class Machine:
    """What runs; it outlives agents. ``script`` maps a container to what its runs do, the last entry for all later."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.script: dict[str, list[tuple[float, int]]] = {}  # seconds until it exits by itself, exit code
        self.stubborn: set[str] = set()  # do not end by a signal
        self.images: dict[str, RunError] = {}  # that cannot be pulled
        self.broken: dict[str, RunError] = {}  # containers that cannot be started
        self.volumes: RunError | None = None
        self.silent: RunError | None = None
        self.runs: dict[str, Run] = {}
        self.journal: list[str] = []
        self._ends: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()

    def alive(self) -> list[str]:
        return [run.container for run in self.runs.values() if run.exit is None]

    def newest(self, name: str) -> Run:
        return max((run for run in self.runs.values() if run.container == name), key=lambda run: run.attempt)

    def begin(self, manifest: pb.PodManifest, container: pb.Container, attempt: int, image_id: str) -> Run:
        run_id = f"{container.name}-{attempt}-{manifest.boot}"
        assert run_id not in self.runs, f"{run_id} was started twice"
        assert container.name not in self.alive(), f"{container.name} runs already"
        run = Run(
            run_id, container.name, attempt, self.clock.now, manifest.boot, f"/log/{run_id}", container.image, image_id
        )
        self.runs[run_id] = run
        self.journal.append(f"start {container.name}")
        script = self.script.get(container.name, [])
        if script:
            seconds, code = script[min(attempt - container.restart_base, len(script) - 1)]
            self._ends[run_id] = asyncio.get_running_loop().create_task(self._end_later(run_id, seconds, code))
        return run

    async def _end_later(self, run_id: str, seconds: float, code: int) -> None:
        await self.clock.sleep(seconds)
        self.end(run_id, code)

    def end(self, run_id: str, code: int, signal: int = 0, *, oom: bool = False, message: str = "") -> None:
        run = self.runs[run_id]
        if run.exit is None:
            self.runs[run_id] = run._replace(exit=Exit(code, signal, oom, run.started_at, self.clock.now, message))
            self.journal.append(f"end {run.container}")
            self._changed.set()
            self._changed = asyncio.Event()

    async def ended(self, run_id: str) -> Exit:
        while True:
            over = self.runs[run_id].exit
            if over is not None:
                return over
            await self._changed.wait()

    async def close(self) -> None:
        for task in self._ends.values():
            task.cancel()
        await asyncio.gather(*self._ends.values(), return_exceptions=True)


class Killed(BaseException):
    """The agent dies here."""


class FakeDriver:
    """A driver over ``Machine``; ``step`` is called before and after everything that has an effect."""

    def __init__(self, machine: Machine, step: Callable[[], None]) -> None:
        self._machine = machine
        self._step = step

    async def prepare(self, manifest: pb.PodManifest) -> None:
        if self._machine.volumes is not None:
            raise self._machine.volumes

    async def runs(self) -> list[Run]:
        if self._machine.silent is not None:
            raise self._machine.silent
        return list(self._machine.runs.values())

    async def image(
        self, manifest: pb.PodManifest, container: pb.Container, pulling: Callable[[], None]
    ) -> tuple[str, bool]:
        pulling()
        await self._machine.clock.sleep(0.5)
        if container.image in self._machine.images:
            raise self._machine.images[container.image]
        return f"{container.image}@sha256:0", True

    async def start(self, manifest: pb.PodManifest, container: pb.Container, attempt: int, image_id: str) -> Run:
        self._step()
        if container.name in self._machine.broken:
            raise self._machine.broken[container.name]
        run = self._machine.begin(manifest, container, attempt, image_id)
        self._step()
        return run

    async def wait(self, run: Run) -> Exit:
        over = await self._machine.ended(run.id)
        self._step()
        return over

    async def stop(self, run: Run, signal: str, grace: float) -> None:
        self._step()
        self._machine.journal.append(f"signal {run.container} {signal or 'SIGTERM'} {grace:g}")
        if run.container in self._machine.stubborn:
            await self._machine.clock.sleep(grace)
            self._machine.end(run.id, 137, 9)
        else:
            await self._machine.clock.sleep(0.1)
            self._machine.end(run.id, 143, 15)
        self._step()

    async def remove(self, run: Run) -> None:
        self._step()
        del self._machine.runs[run.id]

    async def close(self) -> None: ...


class FakeLink:
    connected = True

    def __init__(self) -> None:
        self.reports: list[pb.PodReport] = []
        self.events: list[pb.GuestEvent] = []

    def report(self, report: pb.PodReport) -> None:
        self.reports.append(report)

    def event(self, event: pb.GuestEvent) -> None:
        self.events.append(event)

    async def send(self, message: pb.GuestMessage) -> None: ...


class FakeLogs:
    def __init__(self) -> None:
        self.followed: list[tuple[str, int]] = []

    def follow(self, container: str, attempt: int, path: str) -> None:
        self.followed.append((container, attempt))

    async def ended(self, container: str, attempt: int) -> None: ...


class FakeProbing:
    def __init__(self) -> None:
        self.probed: dict[str, Callable[[Verdict], None]] = {}

    def begin(
        self,
        manifest: pb.PodManifest,
        container: pb.Container,
        run: Run,
        started: bool,
        told: Callable[[Verdict], None],
    ) -> None:
        self.probed[run.id] = told

    def end(self, run: str) -> None:
        self.probed.pop(run, None)


class FakeHooks:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.failing: set[str] = set()

    async def run(self, manifest: pb.PodManifest, container: pb.Container, run: Run, handler: pb.Handler) -> None:
        kind = "postStart" if handler is container.post_start or handler == container.post_start else "preStop"
        self._machine.journal.append(f"{kind} {container.name}")
        await self._machine.clock.sleep(handler.sleep_seconds)
        if container.name in self.failing:
            raise HookFailed("exit code 1")


class FakeDisk:
    def __init__(self, step: Callable[[], None]) -> None:
        self.content = ""
        self._step = step

    async def load(self) -> Memory:
        return decode(json.loads(self.content)) if self.content else Memory()

    async def save(self, memory: Memory) -> None:
        content = json.dumps(encode(memory))
        if content != self.content:
            self._step()
            self.content = content
            self._step()


class World:
    def __init__(self) -> None:
        self.clock = Clock()
        self.machine = Machine(self.clock)
        self.link = FakeLink()
        self.logs = FakeLogs()
        self.probing = FakeProbing()
        self.hooks = FakeHooks(self.machine)
        self.boot_id = "kernel-1"
        self.step: Callable[[], None] = lambda: None
        self.disk = FakeDisk(lambda: self.step())

    def pod(self) -> Pod:
        driver = FakeDriver(self.machine, lambda: self.step())
        return Pod(
            driver,  # type: ignore[arg-type]  # streams are not the lifecycle's business
            self.link,
            self.logs,
            self.probing,
            self.hooks,
            memory=self.disk,
            boot_id=self.boot_id,
            time=Time(lambda: self.clock.now, self.clock.sleep),
        )

    @contextlib.asynccontextmanager
    async def agent(self, manifest: pb.PodManifest) -> AsyncIterator[Pod]:
        """An agent that works for as long as the context lasts; what runs is there before and after."""
        pod = self.pod()
        task = asyncio.get_running_loop().create_task(pod.run())
        pod.apply(manifest)
        try:
            await settle()
            yield pod
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Killed):
                await task
            await settle()

    async def stop(self, pod: Pod, grace: float = 10) -> None:
        """Ask for a stop, and let a minute pass."""
        stopping = asyncio.get_running_loop().create_task(pod.stop(grace, "deleted"))
        await self.clock.advance(60)
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)

    @property
    def report(self) -> pb.PodReport:
        return self.link.reports[-1]

    def container(self, name: str) -> pb.ContainerReport:
        said = self.report
        return next(c for c in [*said.init_containers, *said.containers, *said.ephemeral_containers] if c.name == name)

    def told(self, reason: str) -> list[str]:
        return [event.message for event in self.link.events if event.reason == reason]

    def verdict(self, name: str, kind: str, *, passing: bool) -> None:
        run = self.machine.newest(name)
        self.probing.probed[run.id](Verdict(run.id, name, kind, passing))


def manifest(
    *names: str,
    init: tuple[pb.Container, ...] = (),
    containers: tuple[pb.Container, ...] = (),
    policy: pb.RestartPolicy.ValueType = pb.RESTART_POLICY_ALWAYS,
    boot: str = "boot-1",
) -> pb.PodManifest:
    """A Pod ``web`` in ``shop`` with plain containers of these names, and those given."""
    return pb.PodManifest(
        revision="1",
        pod_uid="uid-1",
        pod_name="web",
        pod_namespace="shop",
        init_containers=init,
        containers=[*[container(name) for name in names], *containers],
        restart_policy=policy,
        termination_grace_seconds=30,
        boot=boot,
    )


def container(name: str, **fields: object) -> pb.Container:
    return pb.Container(**{"name": name, "image": f"{name}:1", **fields})  # type: ignore[arg-type]
