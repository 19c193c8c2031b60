"""The events of a container's life, in the kubelet's words (pkg/kubelet/events, pkg/kubelet/images)."""

from __future__ import annotations

from typing import Callable

from kubelet_bridge.agent.link import Link
from kubelet_bridge.agent.v1 import agent_pb2 as pb


class Teller:
    """Tells the events of one Pod."""

    def __init__(self, link: Link, clock: Callable[[], int]) -> None:
        self._link = link
        self._clock = clock

    def tell(self, container: str, init: bool, reason: str, message: str, *, warning: bool = False) -> None:
        """Tell one; an empty container means the Pod."""
        self._link.event(
            pb.GuestEvent(
                warning=warning, reason=reason, message=message, container=container, init=init, time=self._clock()
            )
        )


def pulling(image: str) -> str:
    """Reason Pulling."""
    return f'Pulling image "{image}"'


def pulled(image: str, seconds: float) -> str:
    """Reason Pulled, after a pull."""
    took = f"{round(seconds * 1000)}ms" if seconds < 1 else f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
    return f'Successfully pulled image "{image}" in {took}'


def present(image: str) -> str:
    """Reason Pulled, without a pull."""
    return f'Container image "{image}" already present on machine'


def pull_failed(image: str, message: str) -> str:
    """Reason Failed."""
    return f'Failed to pull image "{image}": {message}'


def pull_back_off(image: str) -> str:
    """Reason BackOff."""
    return f'Back-off pulling image "{image}"'


def restart_back_off(manifest: pb.PodManifest, container: str) -> str:
    """Reason BackOff."""
    pod = f"{manifest.pod_name}_{manifest.pod_namespace}({manifest.pod_uid})"
    return f"Back-off restarting failed container {container} in pod {pod}"
