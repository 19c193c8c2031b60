"""Byte streams through KubeVirt's subresources: WebSockets whose binary frames are the bytes, in both directions."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Self

import aiohttp

from kubelet_bridge import __version__
from kubelet_bridge.aio.tasks import every
from kubelet_bridge.errors import ApiUnavailable
from kubelet_bridge.kube.client import kept_alive, status_error
from kubelet_bridge.kube.credentials import Credentials
from kubelet_bridge.model.resources import VMI_SUBRESOURCES

PROTOCOL = "plain.kubevirt.io"
_PING_SECONDS = 20.0
"""Neither side of KubeVirt says anything by itself, and what lies between cuts silent connections."""
_SILENT_SECONDS = 120.0
"""Without a byte and without an answer to a ping, while somebody waits for one. Whoever does not read sees no answers
either: aiohttp's own heartbeat would end a stream whose reader takes his time."""
_CONNECT_SECONDS = 20.0
_FRAME_BYTES = 1024 * 1024


class ByteStream:
    """One connection. Raises ``ConnectionError`` when it breaks."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, silent: float = _SILENT_SECONDS) -> None:
        self._socket, self._silent = socket, silent

    async def receive(self) -> bytes:
        """What comes next; empty at the end. Text frames mean nothing in KubeVirt."""
        while True:
            try:
                message = await self._socket.receive(timeout=self._silent)  # begins anew with each answer to a ping
            except TimeoutError as error:
                raise ConnectionError("the other side does not answer") from error
            if message.type is aiohttp.WSMsgType.BINARY:
                if message.data:
                    return bytes(message.data)
            elif message.type is not aiohttp.WSMsgType.TEXT:
                return b""

    async def send(self, data: bytes) -> None:
        """Send all of it, waiting while the other side takes no more."""
        await self._socket.send_bytes(data)


class ByteStreams:
    """An async context manager that holds connections of its own: those to the API server are few and have to be free.

    Streams live as long as guests do.
    """

    def __init__(
        self, credentials: Credentials, *, ping: float = _PING_SECONDS, silent: float = _SILENT_SECONDS
    ) -> None:
        self._credentials, self._ping, self._silent = credentials, ping, silent
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._credentials.tls or True, limit=0, socket_factory=kept_alive)
        headers = {"User-Agent": f"kubelet-bridge/{__version__}"}
        self._http = aiohttp.ClientSession(connector=connector, headers=headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    @asynccontextmanager
    async def vsock(self, namespace: str, name: str, port: int) -> AsyncIterator[ByteStream]:
        """A connection to a vsock port on which the guest of a VMI listens (virt-handler's ``VSOCKHandler``).

        ``tls=false``: what goes through is encrypted already, end to end.

        Raises:
            ApiError: the VMI is not there or does not run, has no vsock, or nobody listens; or we may not.
        """
        path = VMI_SUBRESOURCES.path(namespace, name, "vsock")
        async with self._opened(path, {"port": str(port), "tls": "false"}) as stream:
            yield stream

    def console(self, namespace: str, name: str) -> AbstractAsyncContextManager[ByteStream]:
        """The serial console of a VMI. It has one user, the newest. Raises as ``vsock``."""
        return self._opened(VMI_SUBRESOURCES.path(namespace, name, "console"), {})

    def vnc(self, namespace: str, name: str) -> AbstractAsyncContextManager[ByteStream]:
        """The screen of a VMI, as RFB. It has one user, the newest. Raises as ``vsock``."""
        return self._opened(VMI_SUBRESOURCES.path(namespace, name, "vnc"), {})

    def portforward(self, namespace: str, name: str, port: int) -> AbstractAsyncContextManager[ByteStream]:
        """A TCP port of a VMI, which virt-api dials at the address in its status. Raises as ``vsock``."""
        return self._opened(VMI_SUBRESOURCES.path(namespace, name, f"portforward/{port}"), {})

    @asynccontextmanager
    async def _opened(self, path: str, query: dict[str, str]) -> AsyncIterator[ByteStream]:
        if self._http is None:
            raise RuntimeError("byte streams are not open")
        authorization = await self._credentials.authorization()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                socket = await self._http.ws_connect(
                    self._credentials.base_url + path, params=query, protocols=(PROTOCOL,), max_msg_size=_FRAME_BYTES,
                    headers={"Authorization": authorization} if authorization else None,
                )  # fmt: skip
        except aiohttp.WSServerHandshakeError as error:
            raise status_error(error.status, error.message.encode()) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable(0, "Unreachable", f"GET {path}: {str(error) or type(error).__name__}") from error
        pinging = asyncio.get_running_loop().create_task(_keep_open(socket, self._ping), name="byte stream: ping")
        try:
            yield ByteStream(socket, self._silent)
        finally:
            pinging.cancel()
            await asyncio.gather(pinging, return_exceptions=True)
            await socket.close()


async def _keep_open(socket: aiohttp.ClientWebSocketResponse, seconds: float) -> None:
    with contextlib.suppress(ConnectionError):  # whoever uses the stream is told
        await every(seconds, socket.ping)
