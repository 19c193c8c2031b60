"""The other way round: the bridge comes through KubeVirt's vsock stream, and the agent speaks first all the same.

KubeVirt's ``vsock`` subresource connects to a port on which the guest listens. Over the socket so accepted the agent is
the TLS and HTTP/2 client that it is over TCP, so nothing else differs.
"""

from __future__ import annotations

import asyncio
import socket

_HOST = 2
"""The context id of who runs the VM (vsock(7), VMADDR_CID_HOST)."""


class VsockListener:
    """Waits for the bridge on one port. Only the host may come: other processes in the guest have other context ids."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listening: socket.socket | None = None

    async def accept(self) -> socket.socket:
        """The next connection of the bridge's.

        Raises:
            OSError: this guest has no vsock.
        """
        loop = asyncio.get_running_loop()
        while True:
            sock, address = await loop.sock_accept(self._bound())
            if address[0] == _HOST:
                return sock
            sock.close()

    def close(self) -> None:
        """Listen no more."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    def _bound(self) -> socket.socket:
        if self._listening is None:
            sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            try:
                sock.bind((socket.VMADDR_CID_ANY, self._port))
                sock.listen(1)
                sock.setblocking(False)
            except BaseException:
                sock.close()
                raise
            self._listening = sock
        return self._listening
