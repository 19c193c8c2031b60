"""Bytes between a process and a client until either is done. Nothing is kept but the piece that is on its way."""

import asyncio
from contextlib import AbstractAsyncContextManager

import msgspec

from kubelet_bridge.errors import BridgeError
from kubelet_bridge.kubelet_api.audit import Transfer
from kubelet_bridge.kubelet_api.ports import Ended, Process
from kubelet_bridge.kubelet_api.remotecommand.client import Client, Input
from kubelet_bridge.kubelet_api.remotecommand.terminalsizes import TerminalSize
from kubelet_bridge.kubelet_api.remotecommand.wants import Wants


class Times(msgspec.Struct, frozen=True):
    """In seconds.

    Attributes:
        idle: without a byte in either direction until a session is ended. On SPDY the clients' pings count, as they do
            for a kubelet.
        creation: for a client to open its streams.
        heartbeat: between signs of life to the client; what lies between cuts silent connections.
        closing: for a client that has broken the protocol, or was idle for too long, to take our goodbye.
    """

    idle: float = 4 * 3600.0
    creation: float = 30.0
    heartbeat: float = 20.0
    closing: float = 10.0


class Session:
    """One exec or attach; ``transfer`` counts what goes through."""

    def __init__(self, client: Client, wants: Wants, transfer: Transfer, times: Times) -> None:
        self._client, self._wants, self._transfer, self._times = client, wants, transfer, times
        self._clock = asyncio.get_running_loop().time
        self._last = self._clock()
        self._stdin = wants.stdin  # and the client has not ended it

    @property
    def left(self) -> float:
        """Seconds until it has been idle for too long; not more than 0 once it has."""
        return self._last + self._times.idle - self._clock()

    async def run(self, starting: AbstractAsyncContextManager[Process]) -> Ended | None:
        """How the process ended; None when the client has gone. The process is left, and so ended, in both cases."""
        try:
            async with starting as process:
                return await self._converse(process)
        except BridgeError as error:
            return Ended(error=error.message)

    async def _converse(self, process: Process) -> Ended | None:
        async with asyncio.TaskGroup() as group:
            ends = group.create_task(self._pass_output(process), name="remote command: output")
            gone = group.create_task(self._pass_input(process), name="remote command: input")
            signs = group.create_task(self._show_signs(), name="remote command: signs of life")
            parts = {ends, gone, signs}
            try:
                while not ends.done():
                    if (left := self.left) <= 0:
                        return Ended(error=f"nothing was sent or received for {self._times.idle:g} seconds")
                    await asyncio.wait(parts, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                    if (gone.done() or signs.done()) and not ends.done():
                        return None
                return ends.result()
            finally:
                for part in (ends, gone, signs):
                    part.cancel()

    async def _pass_output(self, process: Process) -> Ended | None:
        try:
            while (output := await process.read()) is not None:
                stderr = output.stderr and not self._wants.tty
                if output.data and (self._wants.stderr if stderr else self._wants.stdout):
                    await self._client.send(output.data, stderr=stderr)
                    self._last = self._clock()
                    self._transfer.sent += len(output.data)
            return await process.result()
        except ConnectionError:
            return None
        except BridgeError as error:
            return Ended(error=error.message)

    async def _pass_input(self, process: Process) -> None:
        """Returns when the client has gone. That the process takes nothing more is its end's to tell."""
        try:
            while (event := await self._client.receive()) is not None:
                self._last = self._clock()
                try:
                    await self._obey(process, event)
                except BridgeError:
                    continue
        except ConnectionError:
            return

    async def _obey(self, process: Process, event: Input | TerminalSize) -> None:
        if isinstance(event, TerminalSize):
            process.resize(event.columns, event.rows)
        elif not self._stdin:
            return
        elif event.data:
            await process.write(event.data)
            self._transfer.received += len(event.data)
        else:
            self._stdin = False
            await process.close_stdin()

    async def _show_signs(self) -> None:
        try:
            while True:
                await asyncio.sleep(self._times.heartbeat)
                await self._client.alive()
        except ConnectionError:
            return
