"""What ``/vms`` needs of the rest; ``daemon`` plugs it in."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from kubelet_bridge.kubelet_api.vms.answers import Actions, GuestInfo, History, Vm, VmDetail, VmList
from kubelet_bridge.kubelet_api.vms.query import VmQuery


class VmReader(Protocol):
    """Reads what is known. ``vm`` is an id (``dpl_…``), a uid, or ``namespace/name``.

    Of one name the living counts, then the youngest. Coroutines raise ``NotFound``, worded for the user, and
    ``BridgeError`` when the store cannot be read.
    """

    async def page(self, query: VmQuery) -> VmList:
        """A page of the list."""

    async def detail(self, vm: str) -> VmDetail:
        """All of one."""

    async def history(self, vm: str) -> History:
        """What its status was."""

    async def actions(self, vm: str) -> Actions:
        """What was asked of it."""

    async def guest(self, vm: str) -> GuestInfo:
        """What its agent has told. ``NotFound`` also where none ever came."""

    async def living(self, vm: str) -> Vm:
        """One that has a VirtualMachine. ``NotFound`` also where it has none, any more or yet."""


class Line(Protocol):
    """A screen or a console. Coroutines raise ``BridgeError`` when it breaks."""

    async def read(self) -> bytes:
        """What comes next; empty at the end."""

    async def write(self, data: bytes) -> None:
        """Send all of it, waiting while no more is taken."""


Dial = Callable[[str, str], AbstractAsyncContextManager[Line]]
"""To the screen or console of a VirtualMachine (namespace, name). Entering raises ``BridgeError``."""
