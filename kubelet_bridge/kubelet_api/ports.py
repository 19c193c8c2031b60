"""What the handlers need of the rest, as Protocols and functions; ``daemon`` plugs in guests and the cluster."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

import msgspec


class ContainerRef(msgspec.Struct, frozen=True):
    """A container as a path names it; ``uid`` is the Pod's where the path has one, else empty."""

    namespace: str
    pod: str
    container: str
    uid: str = ""


class PodRef(msgspec.Struct, frozen=True):
    """A Pod as a path names it; ``uid`` as above."""

    namespace: str
    pod: str
    uid: str = ""


class Output(NamedTuple):
    """What a process wrote; empty data means that this output has ended."""

    stderr: bool
    data: bytes


class Ended(msgspec.Struct, frozen=True):
    """How a process ended: its exit code (0 to 255), or why there is none (it cannot be run, it was lost)."""

    code: int = 0
    error: str = ""


class Process(Protocol):
    """A command that runs in a guest, or a container we are attached to.

    Coroutines raise ``Transient`` when the guest goes away.
    """

    async def read(self) -> Output | None:
        """The next output; None when there is no more: then ``result`` tells how it ended. Not reading holds it up."""

    async def write(self, data: bytes) -> None:
        """Send input, waiting while no more is taken."""

    async def close_stdin(self) -> None:
        """Nothing more will be written."""

    def resize(self, columns: int, rows: int) -> None:
        """The terminal has another size."""

    async def result(self) -> Ended:
        """Wait for the end."""


class Connection(Protocol):
    """A connection to a port in a guest. Coroutines raise ``Transient`` when it breaks."""

    async def read(self) -> bytes:
        """What comes next; empty at the end."""

    async def write(self, data: bytes) -> None:
        """Send all of it, waiting while no more is taken."""

    async def write_eof(self) -> None:
        """Nothing more will be written; reading goes on."""


class Workload(Protocol):
    """A container that was found and runs. Leaving a context ends what runs for it.

    Attributes:
        tty: whether the container itself has a terminal; ``attach`` goes by this and not by what is asked for.
    """

    tty: bool

    def exec(self, command: list[str], *, stdin: bool, tty: bool) -> AbstractAsyncContextManager[Process]:
        """Run a command. Entering raises ``BridgeError``: no way into the guest, too many streams."""

    def attach(self, *, stdin: bool) -> AbstractAsyncContextManager[Process]:
        """Take part in the container's own input and output. Entering raises ``BridgeError``."""


class Ports(Protocol):
    """The ports of a Pod that was found and runs."""

    def connect(self, port: int) -> AbstractAsyncContextManager[Connection]:
        """A connection. Entering raises ``BridgeError``, worded for the user."""


FindContainer = Callable[[ContainerRef], Workload]
"""Raises ``NotFound`` when there is no such Pod or container, ``BridgeError`` when it does not run."""

FindPod = Callable[[PodRef], Ports]
"""Raises ``NotFound`` when there is no such Pod, ``BridgeError`` when it does not run."""
