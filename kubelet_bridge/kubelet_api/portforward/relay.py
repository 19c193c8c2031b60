"""One forwarded connection: bytes both ways until both sides have ended, each its own half."""

import asyncio
from typing import Protocol

from kubelet_bridge.errors import BridgeError
from kubelet_bridge.kubelet_api.audit import Transfer
from kubelet_bridge.kubelet_api.ports import Connection


class Client(Protocol):
    """The client's side. Coroutines raise ``BridgeError`` when it has gone."""

    async def read(self) -> bytes:
        """What comes next; empty when the client has ended its half."""

    async def write(self, data: bytes) -> None:
        """Pass ``data`` on, waiting while the client takes no more."""

    async def guest_ended(self) -> None:
        """The guest will send nothing more."""


class Relay:
    """Copies between a client and a port; ``transfer`` counts.

    When the guest has ended its half, the client may still send, but not be silent for longer than ``patience``
    seconds: most have nothing more to say then, and some never end theirs.
    """

    def __init__(self, client: Client, guest: Connection, transfer: Transfer, patience: float) -> None:
        self._client, self._guest, self._transfer, self._patience = client, guest, transfer, patience
        self._guest_ended = False

    async def run(self) -> None:
        """Until both have ended.

        Raises:
            BridgeError: one side broke.
        """
        broken: BridgeError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                upwards = group.create_task(self._to_guest(), name="port-forward: to the guest")
                group.create_task(self._to_client(upwards), name="port-forward: to the client")
        except* BridgeError as errors:
            broken = next(error for error in errors.exceptions if isinstance(error, BridgeError))
        if broken is not None:
            raise broken

    async def _to_guest(self) -> None:
        while data := await self._client.read():
            self._transfer.received += len(data)
            if not await self._taken(data):
                return
        await self._taken(b"")

    async def _taken(self, data: bytes) -> bool:
        """Give the guest ``data``, or the end. One that has ended its half and takes no more has closed: no error."""
        try:
            await (self._guest.write(data) if data else self._guest.write_eof())
        except BridgeError:
            if self._guest_ended:
                return False
            raise
        return True

    async def _to_client(self, upwards: asyncio.Task[None]) -> None:
        while data := await self._guest.read():
            await self._client.write(data)
            self._transfer.sent += len(data)
        self._guest_ended = True
        await self._client.guest_ended()
        before = -1
        while not upwards.done() and before != self._transfer.received:
            before = self._transfer.received
            await asyncio.wait({upwards}, timeout=self._patience)
        upwards.cancel()
