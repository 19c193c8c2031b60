"""``python -m tests.support.guestnode DIRECTORY``: a guest server on a real database, to be killed by its fail points.

It says its port in a line. Its authority is kept in the directory, as the cluster would keep it.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from kubelet_bridge.guest.authority import Authority
from kubelet_bridge.guest.limits import SessionLimits
from kubelet_bridge.guest.logdisk import LogLimits
from kubelet_bridge.store.guests import GuestStore
from kubelet_bridge.store.standalone import standalone
from tests.support.guests import Node, pod_key

KEY = pod_key("web")
OTHERS = [pod_key(f"other-{number}") for number in range(24)]
LOGS = LogLimits(file_bytes=60, files=1000)
"""Another file for every few lines, and none dropped."""


def authority(directory: Path) -> Authority:
    path = directory / "authority.json"
    if not path.exists():
        directory.mkdir(exist_ok=True)
        path.write_text(json.dumps(Authority.create("node", now=datetime.now(UTC)).to_secret()))
    return Authority.from_secret(json.loads(path.read_text()), name="test")


@asynccontextmanager
async def served(directory: Path, failpoints: str = "") -> AsyncIterator[tuple[int, asyncio.subprocess.Process]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.guestnode", str(directory), stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "KUBELET_BRIDGE_FAILPOINTS": failpoints},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        port = 0
        while not port:
            line = await process.stdout.readline()
            assert line, "the server has ended"
            port = int(line) if line.strip().isdigit() else 0
        yield port, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def main(directory: Path, made: Authority) -> None:
    async with standalone(directory) as database:
        store = await GuestStore.load(database)
        async with Node(directory, store, SessionLimits(), made, LOGS).serving() as node:
            for key in (KEY, *OTHERS):
                node.registry.expect(key, boot="vmi-1")
            os.write(1, f"{node.port}\n".encode())
            await asyncio.Event().wait()


if __name__ == "__main__":
    place = Path(sys.argv[1])
    asyncio.run(main(place, authority(place)))
