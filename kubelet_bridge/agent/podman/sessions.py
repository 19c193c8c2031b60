"""Connections to processes in containers: exec and attach."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Mapping, Sequence

from kubelet_bridge.agent.driver import Run, RunError
from kubelet_bridge.agent.podman.client import ApiError, Client
from kubelet_bridge.agent.podman.ending import end_process
from kubelet_bridge.agent.podman.process import HijackedProcess

CANNOT_RUN = "CannotRun"
_ATTEMPTS = 50
_PAUSE_SECONDS = 0.1


class Sessions:
    """Opens them."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def exec(
        self,
        run: Run,
        command: Sequence[str],
        *,
        stdin: bool,
        tty: bool,
        size: tuple[int, int],
        env: Sequence[tuple[str, str]],
    ) -> HijackedProcess:
        """Start a process in the container.

        Raises:
            RunError: ``CannotRun``.
        """
        wanted = {
            "AttachStdin": stdin,
            "AttachStdout": True,
            "AttachStderr": not tty,
            "Tty": tty,
            "Cmd": list(command),
            "Env": [f"{name}={value}" for name, value in ([("TERM", "xterm")] if tty else []) + list(env)],
        }
        columns, rows = size
        start: dict[str, Any] = {"Detach": False, "Tty": tty}
        if tty and columns and rows:
            start.update(w=columns, h=rows)
        try:
            made = await self._client.call("POST", f"/containers/{run.id}/exec", body=wanted)
            session = str(made["Id"])
            reader, writer = await self._client.hijack(f"/exec/{session}/start", body=start)
        except ApiError as error:
            raise RunError(CANNOT_RUN, error.message, exit_code=_code(error.message)) from error
        except OSError as error:
            raise RunError(CANNOT_RUN, f"podman does not answer: {error}") from error

        async def resize(columns: int, rows: int) -> None:
            await self._resize(f"/exec/{session}/resize", columns, rows)

        async def result() -> int:
            return await self._exec_code(session)

        async def kill() -> None:
            await self._end_exec(session)

        return HijackedProcess(reader, writer, tty=tty, resize=resize, result=result, kill=kill)

    async def attach(self, run: Run, *, stdin: bool, tty: bool) -> HijackedProcess:
        """Connect to the container's main process."""
        query = {"stream": "true", "stdin": str(stdin).lower(), "stdout": "true", "stderr": str(not tty).lower()}
        try:
            reader, writer = await self._client.hijack(f"/containers/{run.id}/attach", query)
        except ApiError as error:
            raise RunError(CANNOT_RUN, error.message) from error
        except OSError as error:
            raise RunError(CANNOT_RUN, f"podman does not answer: {error}") from error

        async def resize(columns: int, rows: int) -> None:
            await self._resize(f"/containers/{run.id}/resize", columns, rows)

        async def result() -> int:
            state = await self._state(f"/containers/{run.id}/json")
            return int(state["State"]["ExitCode"]) if state else 0

        async def kill() -> None:
            """The container runs on."""

        return HijackedProcess(reader, writer, tty=tty, resize=resize, result=result, kill=kill)

    async def _resize(self, path: str, columns: int, rows: int) -> None:
        try:
            await self._client.call("POST", path, {"w": str(columns), "h": str(rows)})
        except (ApiError, OSError):
            pass  # it has ended meanwhile; nobody looks at its terminal any more

    async def _exec_code(self, session: str) -> int:
        """The code is known a moment after the outputs have ended."""
        for _ in range(_ATTEMPTS):
            state = await self._state(f"/exec/{session}/json")
            if not state:
                break
            if not state["Running"]:
                return int(state["ExitCode"])
            await asyncio.sleep(_PAUSE_SECONDS)
        return 255

    async def _end_exec(self, session: str) -> None:
        state = await self._state(f"/exec/{session}/json")
        if state and state["Running"] and state.get("Pid"):
            await end_process(int(state["Pid"]), str(state["ContainerID"]))

    async def _state(self, path: str) -> Mapping[str, Any] | None:
        try:
            state: Mapping[str, Any] | None = await self._client.call("GET", path)
        except (ApiError, OSError, json.JSONDecodeError):
            return None
        return state


def _code(message: str) -> int:
    """The shells' code for why a program cannot be run."""
    lower = message.lower()
    if "no such file" in lower or "not found" in lower:
        return 127
    return 126 if "permission denied" in lower else 128
