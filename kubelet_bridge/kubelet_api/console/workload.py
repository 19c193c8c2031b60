"""What exec and attach come to without an agent: the serial console."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from kubelet_bridge.errors import BridgeError, Transient
from kubelet_bridge.kubelet_api.console.consoles import View
from kubelet_bridge.kubelet_api.console.shells import is_interactive_shell
from kubelet_bridge.kubelet_api.ports import Ended, Output, Process

OpenView = Callable[[], AbstractAsyncContextManager[View]]

_LEAVE = b"\x1d"  # ^], as of telnet and virtctl


class ConsoleProcess:
    """A ``ports.Process`` that ends when it is left with ^], or the console is lost."""

    def __init__(self, view: View, notice: str) -> None:
        self._view = view
        self._notice = f"{notice}\r\n".encode() if notice else b""
        self._ended: Ended | None = None

    async def read(self) -> Output | None:
        """The notice first."""
        if self._notice:
            notice, self._notice = self._notice, b""
            return Output(stderr=False, data=notice)
        try:
            if data := await self._view.read():
                return Output(stderr=False, data=data)
        except BridgeError as error:
            self._ended = Ended(error=f"the serial console is lost: {error.message}")
        return None

    async def write(self, data: bytes) -> None:
        """What is typed; ^] only by itself, as keys come, so that nothing that is pasted leaves.

        From a terminal that sends lines it comes with the end of one.
        """
        if data.rstrip(b"\r\n") == _LEAVE:
            self._view.close()
        else:
            await self._view.write(data)

    async def close_stdin(self) -> None:
        """A console has no end of input."""

    def resize(self, columns: int, rows: int) -> None:
        """A serial line has no size."""

    async def result(self) -> Ended:
        """After ``read`` gave None."""
        return self._ended or Ended()


class ConsoleWorkload:
    """A ``ports.Workload``: attach is the console, a shell to type in is the console too, all else is refused."""

    tty = True

    def __init__(self, view: OpenView, why: str) -> None:
        """``why``: what is wrong with the agent; empty when nobody knows."""
        self._view = view
        self._why = f" ({why})" if why else ""

    @asynccontextmanager
    async def exec(self, command: list[str], *, stdin: bool, tty: bool) -> AsyncIterator[Process]:
        """As in ``ports.Workload``."""
        if not (stdin and tty and is_interactive_shell(command)):
            raise Transient(
                f"exec needs the agent in the virtual machine{self._why}; `kubectl attach` gives the serial console",
                reason="NoAgent",
            )
        notice = (
            f"Without the agent in the virtual machine{self._why} this is its serial console. "
            "Press Enter for a prompt, ^] to leave."
        )
        async with self._view() as view:
            yield ConsoleProcess(view, notice)

    @asynccontextmanager
    async def attach(self, *, stdin: bool) -> AsyncIterator[Process]:
        """As in ``ports.Workload``."""
        async with self._view() as view:
            yield ConsoleProcess(view, "This is the serial console; ^] leaves it." if stdin else "")
