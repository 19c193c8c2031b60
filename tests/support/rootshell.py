"""Commands inside a QEMU guest, by QEMU's own guest agent: nothing of ours takes part."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.devcluster.devhost.qemu import qmp
from kubelet_bridge.devcluster.devhost.qemu.instance import Instance
from kubelet_bridge.errors import Transient
from tests.support.bridge import eventually

HOST = "dev-host-0"


class RootShell:
    """``await shell("pkill -9 -f THING")``: exit code and output."""

    def __init__(self, connection: qmp.Connection) -> None:
        self._connection = connection

    async def __call__(self, script: str) -> tuple[int, str]:
        order = {"path": "/bin/sh", "arg": ["-c", script], "capture-output": True}
        pid = (await self._connection.execute("guest-exec", order))["pid"]

        async def ended() -> dict[str, Any] | None:
            status: dict[str, Any] = await self._connection.execute("guest-exec-status", {"pid": pid})
            return status if status["exited"] else None

        status = await eventually(ended, f"the end of {script!r}")
        out = base64.b64decode(status.get("out-data", "")) + base64.b64decode(status.get("err-data", ""))
        return status.get("exitcode", -1), out.decode()


@asynccontextmanager
async def root_shell(cluster: DevCluster, vmi_uid: str) -> AsyncIterator[RootShell]:
    """A shell in the guest of a VirtualMachineInstance. Its host is stopped meanwhile: the channel is for one alone."""
    await cluster.stop(HOST)
    try:
        path = Instance(cluster.layout, HOST, vmi_uid).sockets / "agent"
        connection = await eventually(lambda: _connected(path), "QEMU's guest agent answering", seconds=180)
        try:
            yield RootShell(connection)
        finally:
            connection.close()
            await asyncio.sleep(0)
    finally:
        await cluster.start(HOST)


async def _connected(path: Any) -> qmp.Connection | None:
    connection = await qmp.connect(path, lambda _name, _data: None, lambda: None)
    with contextlib.suppress(Transient):
        await connection.execute("guest-sync-delimited", {"id": 1}, within=10.0)
        return connection
    connection.close()
    return None
