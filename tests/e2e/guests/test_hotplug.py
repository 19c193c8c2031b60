"""A disk that is plugged into a guest which runs: it sees it by its serial number, and lets it go."""

import pytest

from kubelet_bridge.kube.client import PatchType
from kubelet_bridge.model.resources import PERSISTENTVOLUMECLAIMS, PODS
from kubelet_bridge.translate.annotations import HOTPLUG
from tests.e2e.guests.waiting import SECONDS
from tests.support import guestpods
from tests.support.bridge import World, eventually
from tests.support.kubectl import Kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500), pytest.mark.usefixtures("bridge")]
SECTORS = "32768"
SEEN = """
for disk in /sys/block/vd* /sys/block/sd*; do
  for serial in $disk/serial $disk/device/vpd_pg80; do
    grep -ao -e scratchpad -e archive $serial 2>/dev/null && cat $disk/ro $disk/size
  done
done
true
"""
"""The serial number of each disk of ours, whether it is read-only, and its size in sectors."""


async def test_a_guest_sees_disks_come_and_go(world: World, kubectl: Kubectl) -> None:
    for name in ("archive", "scratchpad"):
        spec = {
            "storageClassName": "vm-disk", "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "16Mi"}},
        }  # fmt: skip
        made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}
        await world.create(PERSISTENTVOLUMECLAIMS, made)
    limits = {"limits": {"cpu": "1", "memory": "256Mi"}}
    body = world.pod("web", container=guestpods.shell("idle", "sleep 1000000", image="busybox", resources=limits))
    await world.create(PODS, body)
    before = await world.ready("web", seconds=SECONDS)

    for listed, wanted in (
        ("archive", ["archive", "0"]), ("archive, scratchpad:virtio:readonly", ["scratchpad", "1", "archive", "0"]),
        ("scratchpad:virtio:readonly", ["scratchpad", "1"]), ("", []),
    ):  # fmt: skip
        patch = {"metadata": {"annotations": {HOTPLUG: listed}}}
        await world.client.patch(PODS, world.namespace, "web", patch, kind=PatchType.MERGE)
        await sees(kubectl, wanted)
    after = await world.ready("web")
    assert guestpods.lives(after) == guestpods.lives(before)


async def sees(kubectl: Kubectl, wanted: list[str]) -> None:
    """Wait until the guest has these disks: of each, its serial number and whether it is read-only."""
    said: list[str] = []

    async def look() -> bool:
        nonlocal said
        said = (await kubectl("exec", "web", "--", "sh", "-c", SEEN)).split()
        return [one for one in said if one != SECTORS] == wanted

    await eventually(look, lambda: f"{wanted} in the guest: {said}", seconds=SECONDS, every=2.0)
