"""What KubeVirt relays of a VM, for the kubelet API. Satisfies ``finder.Machines``."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from kubelet_bridge.daemon.inside.network import RelayedConnection
from kubelet_bridge.daemon.inside.podports import Dial
from kubelet_bridge.kube.bytestream import ByteStream, ByteStreams
from kubelet_bridge.kubelet_api.console.consoles import Consoles
from kubelet_bridge.kubelet_api.console.workload import ConsoleWorkload
from kubelet_bridge.kubelet_api.ports import Connection, Workload


class KubeVirtMachines:
    """One per daemon."""

    def __init__(self, streams: ByteStreams, consoles: Consoles) -> None:
        self._streams, self._consoles = streams, consoles

    def console(self, namespace: str, vm: str, why: str) -> Workload:
        """As in ``finder.Machines``."""
        return ConsoleWorkload(partial(self._consoles.view, namespace, vm), why)

    def screen(self, namespace: str, vm: str) -> Dial:
        """As in ``finder.Machines``."""
        return lambda: _relayed(self._streams.vnc(namespace, vm))

    def port(self, namespace: str, vm: str, port: int) -> Dial:
        """As in ``finder.Machines``."""
        return lambda: _relayed(self._streams.portforward(namespace, vm, port))


@asynccontextmanager
async def _relayed(opening: AbstractAsyncContextManager[ByteStream]) -> AsyncIterator[Connection]:
    async with opening as stream:
        yield RelayedConnection(stream)
