"""The far end of an exec or attach, whatever protocol it speaks."""

from typing import NamedTuple, Protocol

from kubelet_bridge.kubelet_api.ports import Ended
from kubelet_bridge.kubelet_api.remotecommand.terminalsizes import TerminalSize
from kubelet_bridge.kubelet_api.remotecommand.wants import Wants


class Input(NamedTuple):
    """Bytes for the process; empty: there is no more of it."""

    data: bytes


class Client(Protocol):
    """A client whose streams are open. Coroutines raise ``ConnectionError`` when it has gone."""

    async def ready(self, wants: Wants) -> None:
        """Tell it that it may begin, where the protocol has a way."""

    async def receive(self) -> Input | TerminalSize | None:
        """What it says next; None when it has gone. Not receiving holds it up."""

    async def send(self, data: bytes, *, stderr: bool) -> None:
        """Pass output on, waiting while the client takes no more."""

    async def alive(self) -> None:
        """Show that we are here, where the protocol has a way; called now and then."""

    async def finish(self, ended: Ended) -> None:
        """Say how it ended, and that this is all; returns when the client has it, or a while later."""
