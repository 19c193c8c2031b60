"""The agent as guests get it, in a process of its own, connected to a guest server in this one."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.daemon.inside.streams import GuestProcess
from kubelet_bridge.errors import Transient
from kubelet_bridge.guest import bundle
from kubelet_bridge.guest.session import GuestSession
from kubelet_bridge.kubelet_api.ports import ContainerRef, Process
from tests.support.guests import MemoryRecords, Node, pod_key

KEY = pod_key("real")


@asynccontextmanager
async def connected_agent(directory: Path, cache: Path) -> AsyncIterator[GuestSession]:
    """A guest with nothing to run but what it is asked to."""
    built = await asyncio.to_thread(bundle.ensure, cache)
    async with Node(directory, MemoryRecords()).serving() as node:
        node.registry.expect(KEY, boot="vmi-1")
        node.manifests[KEY.uid] = pb.PodManifest(
            revision="1", pod_uid=KEY.uid, pod_name="real", pod_namespace="default", boot="vmi-1",
            runtime=pb.RUNTIME_HOST,
        )  # fmt: skip
        seed = {
            "version": 1, "pod_uid": KEY.uid, "address": f"127.0.0.1:{node.port}",
            "server_name": "kubelet-bridge-guest", "ca": node.authority.certificate.decode(),
            "token": node.boot_token(KEY),
        }  # fmt: skip
        (directory / "agent.json").write_text(json.dumps(seed))
        agent = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(built.path), "run",
            "--config", "agent.json", "--state", "state", "--run", "run",
            cwd=directory, env={"PATH": os.environ["PATH"]}, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield await _able(node)
        finally:
            agent.terminate()
            await agent.wait()


async def _able(node: Node) -> GuestSession:
    """Once it has the manifest, and so can run something."""
    while True:
        session = node.registry.session(KEY.uid)
        if session is not None and KEY.uid in node.records.kept:  # type: ignore[union-attr]
            async with await session.exec("", ["true"]) as stream:
                if not (await stream.result()).error:
                    return session
        await asyncio.sleep(0.05)


class AgentWorkload:
    """A ``ports.Workload``: the guest's own system."""

    tty = False

    def __init__(self, session: GuestSession) -> None:
        self._session = session

    def find(self, _ref: ContainerRef) -> "AgentWorkload":
        return self

    @asynccontextmanager
    async def exec(self, command: list[str], *, stdin: bool, tty: bool) -> AsyncIterator[Process]:
        async with await self._session.exec("", command, stdin=stdin, tty=tty) as stream:
            yield GuestProcess(stream)

    def attach(self, *, stdin: bool) -> AbstractAsyncContextManager[Process]:
        raise Transient("it has no streams of its own")
