"""What the lifecycle needs besides a driver and the bridge: probes and hooks."""

from __future__ import annotations

from typing import Callable, NamedTuple, Protocol

from kubelet_bridge.agent.driver import Run
from kubelet_bridge.agent.v1 import agent_pb2 as pb


class Verdict(NamedTuple):
    """What a probe has come to, after its thresholds.

    Attributes:
        kind: ``liveness``, ``readiness`` or ``startup``.
    """

    run: str
    container: str
    kind: str
    passing: bool


class Probing(Protocol):
    """Runs a container's probes for as long as one run lasts, and tells the ``Unhealthy`` events itself."""

    def begin(
        self,
        manifest: pb.PodManifest,
        container: pb.Container,
        run: Run,
        started: bool,
        told: Callable[[Verdict], None],
    ) -> None:
        """Probe this run; ``told`` is called when a verdict changes. ``started``: the startup probe is behind it."""

    def end(self, run: str) -> None:
        """Probe it no more; harmless when nobody does."""


class HookFailed(Exception):
    """A postStart or preStop hook did not succeed."""


class Hooks(Protocol):
    """Runs lifecycle hooks."""

    async def run(self, manifest: pb.PodManifest, container: pb.Container, run: Run, handler: pb.Handler) -> None:
        """Run one to its end.

        Raises:
            HookFailed: it did not succeed.
        """
