"""A store with VMs in every state, and ``/vms`` served from it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from kubelet_bridge.errors import BridgeError, Transient
from kubelet_bridge.kube.objectcache import Cached
from kubelet_bridge.kubelet_api.vms import ports
from kubelet_bridge.model.guest import Guest, GuestFacts, GuestFilesystem
from kubelet_bridge.model.intent import Allocation, Hosting, IntentStatus, Termination
from kubelet_bridge.model.meta import ObjectHead
from kubelet_bridge.store.actions import ActionQueue
from kubelet_bridge.store.intents import IntentStore
from kubelet_bridge.store.standalone import standalone
from tests.support.intents import NOW, intent, later


async def fill(directory: Path) -> None:
    """web-1 runs in its second boot, web-2 is gone, web-3 has a VM for each of its two containers."""
    async with standalone(directory) as database:
        store = await IntentStore.load(database)
        ended = Termination("vmi-1", 137, "Error", finished_at=later(9))
        await store.save(intent(1), reason="Accepted", now=NOW)
        await store.save(intent(1, vmi_uid="vmi-1"), reason="Observed", now=later(5))
        running = intent(
            1, status=IntentStatus.RUNNING, vm_uid="vm-1", vmi_uid="vmi-2", last_termination=ended, restart_count=1,
            hosting=Hosting.OCI, boot_image="runtime",
            allocation=Allocation(2, 1 << 30, 5 << 30, "02:00:00:00:00:01", [80]),
        )  # fmt: skip
        await store.save(running, reason="Observed", now=later(10))
        await store.save(intent(2, vm_name=""), reason="Accepted", now=NOW)
        await store.destroy("uid-2", reason="PodGone", now=later(20))
        await store.save(intent(3, machines=True, vm_name=""), reason="Accepted", now=NOW)
        for number, container in ((4, "app"), (5, "sidecar")):
            part = intent(
                number, name="web-3", container=container, pod_uid="uid-3", vm_name=f"web-3-{container}",
                accepted_at=later(1),
            )  # fmt: skip
            await store.save(part, reason="Accepted", now=NOW)
        actions = ActionQueue(database)
        await actions.enqueue("uid-1", "reboot", nonce="n1", now=later(30))


class Objects:
    """An informer's cache."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], Cached] = {}

    def add(self, found: dict[str, Any]) -> None:
        raw = msgspec.json.encode(found)
        head = msgspec.json.decode(raw, type=ObjectHead)
        self.found[head.namespace, head.name] = Cached(head, raw)

    def get(self, namespace: str, name: str) -> Cached | None:
        return self.found.get((namespace, name))


@dataclass
class View:
    """What a ``NodeView`` shows."""

    vms: Objects = field(default_factory=Objects)
    vmis: Objects = field(default_factory=Objects)
    stale_since: datetime | None = None

    def add_vm(self, name: str, uid: str, *, vmi: str = "") -> None:
        metadata = {"namespace": "default", "name": name}
        self.vms.add({"metadata": metadata | {"uid": uid}, "status": {"printableStatus": "Running"}})
        if vmi:
            status = {"phase": "Running", "nodeName": "host-1", "interfaces": [{"ipAddress": "10.0.2.2"}, {}]}
            self.vmis.add({"metadata": metadata | {"uid": vmi}, "status": status})


GUEST = Guest(
    connected=True, since=later(5),
    facts=GuestFacts(
        agent_version="1.2", agent_digest="ab", boot_id="b", hostname="web-1", os_id="debian", os_version_id="12",
        os_pretty_name="Debian 12", kernel_release="6.1", machine="x86_64", timezone="UTC", init_system="systemd",
        addresses=["10.0.2.2"], users=["alice"], cpus=2, memory=1 << 30,
        filesystems=[GuestFilesystem("/dev/vda1", "/", "ext4", 100, 40)],
    ),
)  # fmt: skip


def guest_of(uid: str) -> Guest | None:
    """web-1 has an agent, the first machine of web-3 never had one that came."""
    return {"uid-1": GUEST, "uid-4": Guest()}.get(uid)


class Line:
    """A ``ports.Line`` to the test: says what is put into ``said`` (empty: the end), keeps what it hears."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[bytes | BridgeError] = asyncio.Queue()
        self.heard = bytearray()
        self.stuck: asyncio.Event | None = None
        self.left = asyncio.Event()

    async def read(self) -> bytes:
        found = await self.said.get()
        if isinstance(found, BridgeError):
            raise found
        return found

    async def write(self, data: bytes) -> None:
        if self.stuck is not None:
            await self.stuck.wait()
        self.heard += data

    @asynccontextmanager
    async def dial(self, namespace: str, vm: str) -> AsyncIterator[ports.Line]:
        assert (namespace, vm) == ("default", "web-1")
        try:
            yield self
        finally:
            self.left.set()


@asynccontextmanager
async def unreachable(_namespace: str, _vm: str) -> AsyncIterator[ports.Line]:
    """A way that leads nowhere."""
    raise Transient("the VM does not run", reason="NotRunning")
    yield
