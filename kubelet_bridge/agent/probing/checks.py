"""One check, of whatever kind, within its time."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from kubelet_bridge.agent.driver import Driver, Run, RunError
from kubelet_bridge.agent.probing import commands, grpc, http
from kubelet_bridge.agent.probing.addresses import own_address
from kubelet_bridge.agent.probing.result import OUTPUT_BYTES, Result, failed, passed, unknown
from kubelet_bridge.agent.reasons import reason
from kubelet_bridge.agent.v1 import agent_pb2 as pb


class Target(NamedTuple):
    """Whom to check.

    Attributes:
        run: the container's run, for commands; None: the guest's own system.
        pod_ip: the Pod's address, where the container's ports are.
    """

    driver: Driver | None
    run: Run | None
    pod_ip: str

    @property
    def host(self) -> str:
        """The Pod's address as this guest knows it."""
        return own_address(self.pod_ip)


async def check(handler: pb.Handler, timeout: float, target: Target) -> Result:
    """Check once, in at most ``timeout`` seconds; never raises."""
    timeout = max(1.0, timeout)
    kind = handler.WhichOneof("action")
    if kind == "exec":
        return await _exec(list(handler.exec.command), timeout, target)
    try:
        if kind == "http_get":
            host = handler.http_get.host or target.host
            return await asyncio.wait_for(http.check(handler.http_get, host), timeout)
        if kind == "tcp_socket":
            host = handler.tcp_socket.host or target.host
            return await asyncio.wait_for(_tcp(host, handler.tcp_socket.port), timeout)
        if kind == "grpc":
            return await asyncio.wait_for(grpc.check(target.host, handler.grpc.port, handler.grpc.service), timeout)
    except asyncio.TimeoutError:
        return failed(_too_late(handler, timeout, target))
    return unknown(f"missing probe handler for {kind or 'nothing'}")


async def _exec(command: list[str], timeout: float, target: Target) -> Result:
    if target.driver is None:
        return unknown("nothing runs here yet")
    try:
        process = await target.driver.exec(target.run, command, stdin=False, tty=False, size=(0, 0))
        finished = await commands.finish(process, timeout, OUTPUT_BYTES)
    except commands.TimedOut:
        return failed(f'command timed out: "{" ".join(command)}" timed out after {timeout:g}s')
    except RunError as error:
        return unknown(error.message) if error.exit_code == 128 else failed(error.message)
    output = finished.output.decode("utf-8", "replace")
    return passed(output) if finished.exit_code == 0 else failed(output)


async def _tcp(host: str, port: int) -> Result:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return failed(f"dial tcp {_address(host, port)}: connect: {reason(error)}")
    writer.close()
    return passed()


def _too_late(handler: pb.Handler, timeout: float, target: Target) -> str:
    """What Go's clients say when the time is over."""
    kind = handler.WhichOneof("action")
    if kind == "http_get":
        get = handler.http_get
        address = _address(get.host or target.host, get.port)
        url = f"{get.scheme.lower() or 'http'}://{address}{get.path or '/'}"
        return f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
    if kind == "tcp_socket":
        return f"dial tcp {_address(handler.tcp_socket.host or target.host, handler.tcp_socket.port)}: i/o timeout"
    return f"timeout: health rpc did not complete within {timeout:g}s"


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
