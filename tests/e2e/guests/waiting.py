"""What tests of real guests wait for, with patience: a guest boots in half a minute, on a busy machine in several."""

import asyncio
from collections.abc import Callable
from typing import Any

from kubelet_bridge.devcluster.devhost.qemu.instance import recorded_uids
from kubelet_bridge.model.resources import PODS, SECRETS, VIRTUALMACHINEINSTANCES, VIRTUALMACHINES
from tests.support.bridge import Json, World, eventually
from tests.support.keptlogs import counted, kept
from tests.support.rootshell import HOST

SECONDS = 600.0


async def until(world: World, name: str, wanted: Callable[[Json], Any], what: str | Callable[[], str]) -> Json:
    """The Pod once it is as ``wanted``."""
    last: Json | None = None

    async def check() -> Json | None:
        nonlocal last
        last = await world.get(PODS, name)
        return last if last is not None and wanted(last) else None

    def said() -> str:
        words = what if isinstance(what, str) else what()
        return f"{words}; {(last or {}).get('status')}; {world.bridge.tail()}"

    found: Json = await eventually(check, said, seconds=SECONDS)
    return found


async def gone(world: World, pod: Json) -> None:
    """Wait until nothing is there any more that was made for a Pod: no object, and no guest."""
    label = f"kubelet-bridge.io/pod-uid={pod['metadata']['uid']}"

    async def check() -> bool:
        for resource in (VIRTUALMACHINES, SECRETS):
            if await world.find(resource, label_selector=label):
                return False
        instances = await world.find(VIRTUALMACHINEINSTANCES)
        return not [one for one in instances if one["metadata"]["name"] == pod["metadata"]["name"]]

    await eventually(check, lambda: f"nothing left of {pod['metadata']['name']}", seconds=SECONDS)


async def counts_beyond(world: World, uid: str, number: int, attempt: int = 0) -> int:
    """How far ``count`` has come in the bridge's log once that is beyond ``number``."""

    async def check() -> int:
        reached = counted(await kept(world.bridge, uid, "count", attempt))
        return reached if reached > number else 0

    reached: int = await eventually(check, lambda: f"a count beyond {number}; {world.bridge.tail()}", seconds=SECONDS)
    return reached


async def vmi_uid(world: World, name: str) -> str:
    """The uid of the VirtualMachineInstance of a Pod."""
    found = await world.get(VIRTUALMACHINEINSTANCES, name)
    assert found is not None
    uid = str(found["metadata"]["uid"])
    assert uid in await asyncio.to_thread(recorded_uids, world.bridge.cluster.layout, HOST)
    return uid
