"""Guests that an earlier process of this host ran: each is found again, or ended when its instance does without it."""

from kubelet_bridge.devcluster.devhost.domains import Key
from kubelet_bridge.devcluster.devhost.runtime import GuestRuntime
from kubelet_bridge.devcluster.devhost.vmiclient import VmiClient


class Leftovers:
    """The VirtualMachineInstances that were there when this process began, until their guests are found or ended.

    A launcher Pod that is being deleted can be gone before its guest is found again: no ``Domain`` stands for that
    guest then, and the instance's own end is the last that is heard of it.
    """

    def __init__(self, runtime: GuestRuntime, vmis: VmiClient) -> None:
        self._runtime = runtime
        self._vmis = vmis
        self._keys: dict[str, Key] = {}

    async def begin(self) -> None:
        """End what belongs to nobody; call once, when the caches are filled."""
        self._keys = self._vmis.unfinished()
        await self._runtime.retain(self._keys.keys())

    def found(self, uid: str) -> None:
        """Its guest has a ``Domain`` now, which tells of its end."""
        self._keys.pop(uid, None)

    def has(self, key: Key) -> bool:
        """Whether one of that name was there."""
        return key in self._keys.values()

    async def end(self, uid: str) -> None:
        """The VirtualMachineInstance ``uid`` has ended, or has no launcher any more."""
        if self._keys.pop(uid, None) is not None:
            await self._runtime.retain(self._vmis.unfinished().keys() - {uid})

    async def end_all(self, key: Key, but: str) -> None:
        """No VirtualMachineInstance of that name but the one with the uid ``but`` (``""``: none) is this host's."""
        for uid in [uid for uid, one in self._keys.items() if one == key and uid != but]:
            await self.end(uid)
