"""How the parts of the agent reach the bridge, whether it is connected or not."""

from __future__ import annotations

from typing import Protocol

from kubelet_bridge.agent.v1 import agent_pb2 as pb


class Link(Protocol):
    """The way to the bridge."""

    @property
    def connected(self) -> bool:
        """Whether a welcome was said and the stream stands."""

    def report(self, report: pb.PodReport) -> None:
        """Say what the state is now. Numbered, kept on disk until acknowledged, sent again after a reconnect."""

    def event(self, event: pb.GuestEvent) -> None:
        """Tell once; the last hundred are kept while there is no connection."""

    async def send(self, message: pb.GuestMessage) -> None:
        """Send in order, waiting while the connection takes no more; raises ConnectionError when it ends first."""


class Logs(Protocol):
    """Sends container logs, each run's in order, with back-pressure and a place to go on from after any restart."""

    def follow(self, container: str, attempt: int, path: str) -> None:
        """Ship what this CRI-format log holds and will hold. Following it again is harmless."""

    async def ended(self, container: str, attempt: int) -> None:
        """The run is over: read the log to its end; returns when all of it is on its way, if there is one."""
