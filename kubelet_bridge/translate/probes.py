"""Probes of the first container as probes of the VM, which the launcher's kubelet carries out.

KubeVirt has ``httpGet``, ``tcpSocket``, ``exec`` (by the guest agent) and no startup probe (``Probe`` and ``Handler``
in ``kubevirt.io/api/core/v1``). A failing liveness probe ends the VM, which then restarts by its run strategy.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.core import Container, HttpGetAction, Pod, Probe


class UnknownPort(Terminal):
    """A probe names a port that its container does not declare."""


def build(container: Container) -> dict[str, Any]:
    """``readinessProbe`` and ``livenessProbe`` of the VMI.

    A gRPC probe becomes a check that its port takes connections. A startup probe holds back the liveness probe for as
    long as it would have waited, and stands in for a readiness probe that is not there.

    Raises:
        UnknownPort: see there.
    """
    startup, readiness, liveness = container.startup_probe, container.readiness_probe, container.liveness_probe
    if startup and not readiness:
        readiness = msgspec.structs.replace(startup, failure_threshold=Probe().failure_threshold)
    if startup and liveness:
        patience = startup.initial_delay_seconds + startup.failure_threshold * startup.period_seconds
        delay = max(liveness.initial_delay_seconds, patience)
        liveness = msgspec.structs.replace(liveness, initial_delay_seconds=delay)
    found = {"readinessProbe": _probe(container, readiness), "livenessProbe": _probe(container, liveness)}
    return {field: probe for field, probe in found.items() if probe}


def _probe(container: Container, probe: Probe | None) -> dict[str, Any] | None:
    handler = _handler(container, probe) if probe else None
    if probe is None or handler is None:
        return None
    delay = {"initialDelaySeconds": probe.initial_delay_seconds} if probe.initial_delay_seconds else {}
    return {
        **handler,
        **delay,
        "periodSeconds": probe.period_seconds,
        "timeoutSeconds": probe.timeout_seconds,
        "successThreshold": probe.success_threshold,
        "failureThreshold": probe.failure_threshold,
    }


def _handler(container: Container, probe: Probe) -> dict[str, Any] | None:
    if probe.http_get is not None:
        return {"httpGet": _http(container, probe.http_get)}
    if probe.tcp_socket is not None:
        host = {"host": probe.tcp_socket.host} if probe.tcp_socket.host else {}
        return {"tcpSocket": {"port": port_number(container, probe.tcp_socket.port), **host}}
    if probe.grpc is not None:
        return {"tcpSocket": {"port": probe.grpc.port}}
    if probe.exec is not None:
        return {"exec": {"command": probe.exec.command}}
    return None


def _http(container: Container, action: HttpGetAction) -> dict[str, Any]:
    optional = {
        "path": action.path,
        "host": action.host,
        "scheme": action.scheme,
        "httpHeaders": [{"name": header.name, "value": header.value} for header in action.http_headers],
    }
    return {"port": port_number(container, action.port), **{field: value for field, value in optional.items() if value}}


def port_number(container: Container, port: int | str) -> int:
    """The number of a port that may be a name (``ResolveContainerPort`` in ``pkg/probe/util.go``).

    Raises:
        UnknownPort: no port of the container has that name, and it is no number between 1 and 65535.
    """
    named = {declared.name: declared.container_port for declared in container.ports if declared.name}
    number = named.get(port) if isinstance(port, str) else port
    if number is None and re.fullmatch("[0-9]{1,5}", str(port)):
        number = int(port)
    if number is None or not 0 < number < 65536:
        raise UnknownPort(f'couldn\'t find port "{port}"')
    return number


def probed(container: Container) -> Iterator[tuple[str, Probe]]:
    """The container's probes with their field names."""
    probes = (
        ("livenessProbe", container.liveness_probe),
        ("readinessProbe", container.readiness_probe),
        ("startupProbe", container.startup_probe),
    )
    return ((field, probe) for field, probe in probes if probe)


def probe_ports(pod: Pod) -> list[int]:
    """Numbers of the ports that the VM's probes knock at, in the Pod itself."""
    if not pod.spec.containers:
        return []
    numbers: list[int] = []
    for probe in build(pod.spec.containers[0]).values():
        action = probe.get("httpGet") or probe.get("tcpSocket")
        if action and not action.get("host"):
            numbers.append(action["port"])
    return numbers
