"""The running agent: all its parts, from the first word to the bridge until a signal or a successor ends it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import signal
import sys
from pathlib import Path
from typing import Any

from kubelet_bridge.agent import tasks
from kubelet_bridge.agent.config import Paths, Seed
from kubelet_bridge.agent.control import ControlServer
from kubelet_bridge.agent.credentials import Vault
from kubelet_bridge.agent.logs import Shipper
from kubelet_bridge.agent.own import VERSION, own_digest, own_file
from kubelet_bridge.agent.session import Session
from kubelet_bridge.agent.spool import Spool
from kubelet_bridge.agent.telling import tell
from kubelet_bridge.agent.transport import GrpcTransport
from kubelet_bridge.agent.update import Updater, become
from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.agent.vsock import VsockListener
from kubelet_bridge.agent.workload import Workload

CAPABILITIES = ("podman", "host", "exec", "attach", "port-forward", "probes", "metrics", "ssh-keys", "hooks", "update")
_SETTLE_SECONDS = 5.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def run(seed: Seed, paths: Paths, driver: str = "") -> int:
    """Run until told to end; containers run on. The exit code: 0 after a signal.

    ``driver`` is ``host`` where commands run on this system whatever the bridge takes it for.
    """
    paths.make()
    own_file(), own_digest()  # while the file is the one that runs
    boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
    tell(f"agent {VERSION} ({own_digest()[:12] or 'from source'}) for Pod {seed.pod_uid}")
    successor = asyncio.run(_Agent(seed, paths, boot_id, driver).run())
    if successor is not None:
        become(successor, sys.argv[1:])
    return 0


class _Agent:
    def __init__(self, seed: Seed, paths: Paths, boot_id: str, driver: str) -> None:
        self._seed = seed
        self._paths = paths
        self._boot_id = boot_id
        self._driver = driver
        self._successor: Path | None = None

    async def run(self) -> Path | None:
        """Work until a signal, or until another agent is to take over: its file."""
        self._over = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._over.set)
        listener = VsockListener(self._seed.vsock_port) if self._seed.vsock_port else None
        transport = GrpcTransport(self._seed, listener.accept if listener else None)
        vault = Vault(self._paths.session, self._paths.run / "session.json", self._seed.pod_uid)
        session = Session(transport, self._seed, vault, Spool(self._paths.spool), self._hello)
        shipper = Shipper(session, self._paths.spool / "logs.json")
        self._workload = Workload(self._seed, self._paths, session, shipper, self._boot_id, self._driver)
        updater = self._updater(session)
        session.on("welcome", _give_memory_back_soon)
        try:
            async with ControlServer(self._paths.control, self._answer):
                await tasks.until_one_ends(
                    self._over.wait(), self._workload.run(), shipper.run(), self._keep(updater), session.run()
                )
        finally:
            if listener is not None:
                listener.close()
        return self._successor

    def _updater(self, session: Session) -> Updater:
        trust = (self._seed.ca, self._seed.server_name)
        updater = Updater(self._paths.agents, self._paths.update, own_digest(), trust, self._give_way)
        session.on("welcome", updater.welcomed)
        session.on("agent_offer", updater.offered)
        return updater

    async def _keep(self, updater: Updater) -> None:
        await updater.run()
        await self._over.wait()

    def _give_way(self, successor: Path) -> None:
        self._successor = successor
        self._over.set()

    async def _hello(self) -> pb.Hello:
        return pb.Hello(
            agent_version=VERSION,
            agent_digest=own_digest(),
            boot_id=self._boot_id,
            info=await self._workload.info(),
            manifest_revision=self._workload.revision,
            capabilities=[one for one in CAPABILITIES if one != "podman" or self._driver != "host"],
        )

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request.get("command") != "stop":
            return {"error": "unknown command"}
        grace = request.get("grace")
        await self._workload.stop(
            float(grace) if isinstance(grace, (int, float)) else None, "the machine is going down"
        )
        return {"stopped": True}


@functools.lru_cache(maxsize=1)
def _c_library() -> Any:
    return ctypes.CDLL(None)


def _give_memory_back_soon(_: pb.Welcome) -> None:
    asyncio.get_running_loop().call_later(_SETTLE_SECONDS, _give_memory_back)


def _give_memory_back() -> None:
    """Compiling the modules took memory that is free now and that glibc keeps; musl has no such function."""
    with contextlib.suppress(AttributeError):
        _c_library().malloc_trim(0)
