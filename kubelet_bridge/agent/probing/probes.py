"""Runs the probes of every container that runs, one task per probe."""

from __future__ import annotations

import asyncio
import time
from typing import Callable, NamedTuple

from kubelet_bridge.agent import tasks
from kubelet_bridge.agent.driver import Driver, Run
from kubelet_bridge.agent.link import Link
from kubelet_bridge.agent.pod.ports import Verdict
from kubelet_bridge.agent.probing import checks
from kubelet_bridge.agent.probing.result import Result
from kubelet_bridge.agent.probing.verdicts import Kind, Verdicts
from kubelet_bridge.agent.v1 import agent_pb2 as pb

# What Kubernetes fills in (pkg/apis/core/v1/defaults.go).
PERIOD_SECONDS = 10
TIMEOUT_SECONDS = 1


class _Subject(NamedTuple):
    """A run that is probed."""

    container: pb.Container
    run: Run
    init: bool
    target: checks.Target
    told: Callable[[Verdict], None]
    started: asyncio.Event
    begun: float


class Probes:
    """Implements ``pod.ports.Probing``."""

    def __init__(self, driver: Driver, link: Link) -> None:
        self._driver = driver
        self._link = link
        self._running: dict[str, list[asyncio.Task[None]]] = {}

    def begin(
        self,
        manifest: pb.PodManifest,
        container: pb.Container,
        run: Run,
        started: bool,
        told: Callable[[Verdict], None],
    ) -> None:
        """As in ``pod.ports.Probing``; nothing happens when this run is probed already."""
        if run.id in self._running:
            return
        age = max(0.0, (time.time_ns() - run.started_at) / 1e9) if run.started_at else 0.0
        target = checks.Target(self._driver, run, manifest.pod_ip)
        init = any(one.name == container.name for one in manifest.init_containers)
        subject = _Subject(container, run, init, target, told, asyncio.Event(), time.monotonic() - age)
        if started or not container.HasField("startup"):
            subject.started.set()
        wanted = [
            (Kind.STARTUP, container.startup, container.HasField("startup") and not started),
            (Kind.LIVENESS, container.liveness, container.HasField("liveness")),
            (Kind.READINESS, container.readiness, container.HasField("readiness")),
        ]
        self._running[run.id] = [
            tasks.start(self._probe(subject, kind, probe), f"{kind.value} probe of {container.name}")
            for kind, probe, there in wanted
            if there
        ]

    def end(self, run: str) -> None:
        """As in ``pod.ports.Probing``."""
        for task in self._running.pop(run, []):
            task.cancel()

    async def close(self) -> None:
        """Probe nothing any more."""
        left = [task for one in self._running.values() for task in one]
        self._running.clear()
        await tasks.end(left)

    async def _probe(self, subject: _Subject, kind: Kind, probe: pb.Probe) -> None:
        """Probe at once and then every period, as a ticker: a slow check shortens the wait after it."""
        verdicts = Verdicts(kind, probe)
        period = float(probe.period_seconds or PERIOD_SECONDS)
        if kind is not Kind.STARTUP:
            await subject.started.wait()
        tick = time.monotonic()
        while True:
            if verdicts.due(time.monotonic() - subject.begun, started=subject.started.is_set()):
                result = await checks.check(
                    probe.handler, float(probe.timeout_seconds or TIMEOUT_SECONDS), subject.target
                )
                self._event(subject, kind, result)
                self._judge(subject, kind, verdicts, result)
            now = time.monotonic()
            tick = max(tick + period, now - (now - tick) % period)
            await asyncio.sleep(max(0.0, tick - now))

    def _judge(self, subject: _Subject, kind: Kind, verdicts: Verdicts, result: Result) -> None:
        if result.outcome == pb.OUTCOME_UNKNOWN:
            return
        passing = verdicts.take(result.success)
        if passing is None:
            return
        if kind is Kind.STARTUP and passing:
            subject.started.set()
        subject.told(Verdict(subject.run.id, subject.container.name, kind.value, passing))

    def _event(self, subject: _Subject, kind: Kind, result: Result) -> None:
        if result.success and not result.warning:
            return
        reason, what = ("ProbeWarning", "warning") if result.warning else ("Unhealthy", "failed")
        if result.outcome == pb.OUTCOME_UNKNOWN:
            what = "errored and resulted in unknown state"
        event = pb.GuestEvent(
            warning=True,
            reason=reason,
            message=f"{kind.title} probe {what}: {result.output}",
            container=subject.container.name,
            init=subject.init,
            time=time.time_ns(),
        )
        self._link.event(event)
