"""The real kubectl, as a user types it."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from kubelet_bridge.devcluster.cluster import DevCluster
from tests.support.bridge import World


class Kubectl:
    """``await kubectl("get", "pods")`` gives what it prints; a failure raises with what it said."""

    def __init__(
        self, cluster: DevCluster, namespace: str, *, binary: Path | None = None, env: dict[str, str] | None = None
    ) -> None:
        self.binary = str(binary or cluster.layout.bin / "kubectl")
        self.env = {**os.environ, **cluster.env(), **(env or {})}
        self.namespace = namespace

    def argv(self, *arguments: str) -> list[str]:
        """The whole command line."""
        return [self.binary, "-n", self.namespace, *arguments]

    async def run(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        code, out, err = await self.bytes(*arguments, stdin=stdin.encode())
        return code, out.decode(), err.decode()

    async def bytes(self, *arguments: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        process = await self.start(*arguments)
        out, err = await process.communicate(stdin)
        return process.returncode or 0, out, err

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """One that goes on, with pipes."""
        return await asyncio.create_subprocess_exec(
            *self.argv(*arguments), env=self.env, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def __call__(self, *arguments: str, stdin: str = "") -> str:
        code, out, err = await self.run(*arguments, stdin=stdin)
        assert code == 0, f"kubectl {' '.join(arguments)}: {err}{out}"
        return out

    async def apply(self, *objects: dict[str, Any]) -> None:
        await self("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    async def json(self, *arguments: str) -> Any:
        return msgspec.json.decode(await self(*arguments, "-o", "json"))


@asynccontextmanager
async def forwarding(kubectl: Kubectl, what: str, port: int) -> AsyncIterator[int]:
    """``kubectl port-forward``; the local port."""
    process = await kubectl.start("port-forward", what, f":{port}")
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            line = (await process.stdout.readline()).decode()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert found, line
        yield int(found[1])
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()


@pytest.fixture
def kubectl(dev_cluster: DevCluster, world: World) -> Kubectl:
    return Kubectl(dev_cluster, world.namespace)
