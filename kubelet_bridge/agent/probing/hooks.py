"""postStart and preStop, as pkg/kubelet/lifecycle/handlers.go runs them. The caller limits their time."""

from __future__ import annotations

import asyncio

from kubelet_bridge.agent.driver import Driver, Run, RunError
from kubelet_bridge.agent.pod.ports import HookFailed
from kubelet_bridge.agent.probing import checks, commands, http
from kubelet_bridge.agent.probing.addresses import own_address
from kubelet_bridge.agent.probing.result import OUTPUT_BYTES
from kubelet_bridge.agent.seconds import bounded
from kubelet_bridge.agent.v1 import agent_pb2 as pb

# A hook has no timeout of its own; this only keeps a forgotten one from staying for ever.
LONGEST_SECONDS = 24 * 3600.0


class Hooks:
    """Implements ``pod.ports.Hooks``."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def run(self, manifest: pb.PodManifest, container: pb.Container, run: Run, handler: pb.Handler) -> None:
        """As in ``pod.ports.Hooks``."""
        kind = handler.WhichOneof("action")
        if kind == "exec":
            await self._exec(list(handler.exec.command), container, run)
        elif kind == "http_get":
            await self._get(handler.http_get, own_address(manifest.pod_ip))
        elif kind == "sleep_seconds":
            await asyncio.sleep(bounded(handler.sleep_seconds, 0.0, LONGEST_SECONDS, otherwise=0.0))
        elif kind == "tcp_socket":  # a kubelet accepts it for old objects' sake, and tries to connect
            result = await checks.check(handler, LONGEST_SECONDS, checks.Target(None, None, manifest.pod_ip))
            if not result.success:
                raise HookFailed(result.output)
        else:
            raise HookFailed(f"this agent does not know hooks of the kind {kind}")

    async def _exec(self, command: list[str], container: pb.Container, run: Run) -> None:
        text = " ".join(command)
        try:
            process = await self._driver.exec(run, command, stdin=False, tty=False, size=(0, 0))
            finished = await commands.finish(process, LONGEST_SECONDS, OUTPUT_BYTES)
        except (RunError, commands.TimedOut) as error:
            raise HookFailed(
                f'Exec lifecycle hook ([{text}]) for Container "{container.name}" failed - {error}'
            ) from error
        if finished.exit_code != 0:
            output = finished.output.decode("utf-8", "replace")
            raise HookFailed(
                f'Exec lifecycle hook ([{text}]) for Container "{container.name}" failed - error: '
                f"command '{text}' exited with {finished.exit_code}: {output}"
            )

    async def _get(self, action: pb.HttpGet, host: str) -> None:
        result = await http.check(action, action.host or host)
        if not result.success:
            raise HookFailed(f"HTTP lifecycle hook ({action.path}) failed - error: {result.output}")
