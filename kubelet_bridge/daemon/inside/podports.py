"""The ports of a Pod, tried one way after the other."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from kubelet_bridge.daemon.inside.streams import GuestConnection
from kubelet_bridge.errors import BridgeError, Transient
from kubelet_bridge.guest.session import GuestSession
from kubelet_bridge.kubelet_api.ports import Connection

Dial = Callable[[], AbstractAsyncContextManager[Connection]]
"""Makes a connection; entering raises ``BridgeError``."""

Ways = Callable[[int], Iterator[Dial]]
"""The ways to a port, the best first."""


class PodPorts:
    """A ``ports.Ports``. What the first way met is what the user is told."""

    def __init__(self, ways: Ways) -> None:
        self._ways = ways

    @asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[Connection]:
        """As in ``ports.Ports``."""
        first: BridgeError | None = None
        for dial in self._ways(port):
            async with AsyncExitStack() as stack:
                try:
                    connection = await stack.enter_async_context(dial())
                except BridgeError as error:
                    first = first or error
                    continue
                yield connection
                return
        raise first or Transient(f"port {port} cannot be reached: the Pod has no address yet", reason="NoAddress")


@asynccontextmanager
async def loopback(session: GuestSession, port: int) -> AsyncIterator[Connection]:
    """A port of a guest's own loopback, through its agent.

    Raises:
        Transient: nobody listens there, or the guest is gone.
    """
    async with await session.forward(port) as stream:
        if not await stream.opened():
            raise Transient((await stream.result()).message, reason="CannotConnect")
        yield GuestConnection(stream)
