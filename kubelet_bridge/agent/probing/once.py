"""A check that the bridge asks for, once."""

from __future__ import annotations

from typing import Callable

from kubelet_bridge.agent.driver import Driver, Run
from kubelet_bridge.agent.probing import checks
from kubelet_bridge.agent.v1 import agent_pb2 as pb


async def probe_once(
    request: pb.ProbeRequest, driver: Driver | None, run_of: Callable[[str], Run | None], pod_ip: str
) -> pb.ProbeResult:
    """Its result; ``UNKNOWN`` when the container does not run. An empty container is the guest's own system."""
    run = run_of(request.container) if request.container else None
    if request.container and (run is None or run.exit is not None):
        output = f"container {request.container} is not running"
        return pb.ProbeResult(id=request.id, outcome=pb.OUTCOME_UNKNOWN, output=output)
    target = checks.Target(driver, run, pod_ip)
    result = await checks.check(request.handler, float(request.timeout_seconds or 1), target)
    return pb.ProbeResult(id=request.id, outcome=result.outcome, output=result.output)
