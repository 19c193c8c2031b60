"""``python -m tests.support.guestnode DIRECTORY``: a guest server on a real database, to be killed by its fail points.

It says its port in a line. Its authority is kept in the directory, as the cluster would keep it.
"""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from kubelet_bridge.guest.authority import Authority
from kubelet_bridge.guest.limits import SessionLimits
from kubelet_bridge.guest.logdisk import LogLimits
from kubelet_bridge.store.guests import GuestStore
from kubelet_bridge.store.standalone import standalone
from tests.support.guests import Node, pod_key

KEY = pod_key("web")
LOGS = LogLimits(file_bytes=60, files=1000)
"""Another file for every few lines, and none dropped."""


def authority(directory: Path) -> Authority:
    path = directory / "authority.json"
    if not path.exists():
        directory.mkdir(exist_ok=True)
        path.write_text(json.dumps(Authority.create("node", now=datetime.now(UTC)).to_secret()))
    return Authority.from_secret(json.loads(path.read_text()), name="test")


async def main(directory: Path, made: Authority) -> None:
    async with standalone(directory) as database:
        store = await GuestStore.load(database)
        async with Node(directory, store, SessionLimits(), made, LOGS).serving() as node:
            node.registry.expect(KEY, boot="vmi-1")
            os.write(1, f"{node.port}\n".encode())
            await asyncio.Event().wait()


if __name__ == "__main__":
    place = Path(sys.argv[1])
    asyncio.run(main(place, authority(place)))
