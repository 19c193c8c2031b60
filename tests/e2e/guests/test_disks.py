"""Claims of a StatefulSet in a real guest: what is written outlives the VM, and a disk grows while it is used."""

import pytest

from kubelet_bridge.model.resources import DATAVOLUMES, PERSISTENTVOLUMECLAIMS
from tests.e2e.guests.waiting import SECONDS
from tests.support.bridge import Bridge, Json, World, eventually
from tests.support.kubectl import Kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

WRITE = """
head -c 5000000 /dev/urandom >/data/blob
head -c 5000000 /dev/urandom | dd of=/dev/raw bs=1M seek=3 conv=notrunc 2>/dev/null
echo kept >/data/part/note
sync
"""
READ = """
sha256sum </data/blob
dd if=/dev/raw bs=1M skip=3 count=4 2>/dev/null | sha256sum
cat /part/note
stat -c %g /data
touch /fixed/no 2>&1 || true
"""


def template(name: str, size: str, mode: str) -> Json:
    return {
        "metadata": {"name": name},
        "spec": {
            "storageClassName": "vm-disk", "accessModes": ["ReadWriteOnce"], "volumeMode": mode,
            "resources": {"requests": {"storage": size}},
        },
    }  # fmt: skip


def database(node: str) -> Json:
    container = {
        "name": "db", "image": "busybox",
        "command": ["sh", "-c", "trap 'exit 0' TERM; mkdir -p /data/part; while :; do sleep 1; done"],
        "volumeMounts": [
            {"name": "files", "mountPath": "/data"},
            {"name": "files", "mountPath": "/part", "subPath": "part"},
            {"name": "files", "mountPath": "/fixed", "readOnly": True},
        ],
        "volumeDevices": [{"name": "raw", "devicePath": "/dev/raw"}],
        "resources": {"limits": {"cpu": "1", "memory": "256Mi"}},
    }  # fmt: skip
    pod = {
        "nodeSelector": {"kubernetes.io/hostname": node}, "tolerations": [{"operator": "Exists"}],
        "securityContext": {"fsGroup": 2000}, "containers": [container],
    }  # fmt: skip
    return {
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
        "spec": {
            "serviceName": "db", "replicas": 1, "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": pod},
            "volumeClaimTemplates": [template("files", "64Mi", "Filesystem"), template("raw", "16Mi", "Block")],
        },
    }  # fmt: skip


async def test_what_is_written_outlives_its_vm(world: World, bridge: Bridge, kubectl: Kubectl) -> None:
    await kubectl.apply(database(bridge.node))
    await rolled_out(kubectl)
    first = await world.ready("db-0", seconds=SECONDS)
    await inside(kubectl, WRITE)
    before = await inside(kubectl, READ)
    assert before.splitlines()[2:] == ["kept", "2000", "touch: /fixed/no: Read-only file system"]

    await grow(world, kubectl, "files-db-0", "128Mi")
    disks = {one["metadata"]["uid"] for one in await world.find(DATAVOLUMES)}
    assert len(disks) == 2

    await kubectl("delete", "pod/db-0", "--wait=true", f"--timeout={SECONDS:.0f}s")
    await rolled_out(kubectl)
    second = await world.ready("db-0", seconds=SECONDS)
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert await inside(kubectl, READ) == before
    assert await kilobytes(kubectl) > 96 * 1024
    assert {one["metadata"]["uid"] for one in await world.find(DATAVOLUMES)} == disks


async def rolled_out(kubectl: Kubectl) -> None:
    await kubectl("rollout", "status", "statefulset/db", f"--timeout={SECONDS:.0f}s")


async def inside(kubectl: Kubectl, script: str) -> str:
    return await kubectl("exec", "db-0", "--", "sh", "-c", script)


async def kilobytes(kubectl: Kubectl) -> int:
    """Of the file system, as its user sees it."""
    return int((await inside(kubectl, "df -k /data | tail -n 1")).split()[1])


async def grow(world: World, kubectl: Kubectl, claim: str, size: str) -> None:
    """The claim says that it has grown, and so does the file system of the container that goes on running."""
    before = await kilobytes(kubectl)
    patch = f'{{"spec": {{"resources": {{"requests": {{"storage": "{size}"}}}}}}}}'
    await kubectl("patch", "pvc", claim, "--patch", patch)

    async def has_grown() -> bool:
        found = await world.get(PERSISTENTVOLUMECLAIMS, claim)
        return found is not None and found["status"]["capacity"]["storage"] == size

    await eventually(has_grown, lambda: f"{claim} of {size}; {world.bridge.tail()}", seconds=SECONDS)

    async def is_larger() -> bool:
        return await kilobytes(kubectl) > before * 3 // 2

    await eventually(is_larger, "a larger file system", seconds=SECONDS)
