"""The real kubectl, as a user types it."""

import asyncio
import os
from typing import Any

import msgspec
import pytest
import yaml

from kubelet_bridge.devcluster.cluster import DevCluster
from tests.support.bridge import World


class Kubectl:
    """``await kubectl("get", "pods")`` gives what it prints; a failure raises with what it said."""

    def __init__(self, cluster: DevCluster, namespace: str) -> None:
        self._binary = str(cluster.layout.bin / "kubectl")
        self._environment = {**os.environ, **cluster.env()}
        self.namespace = namespace

    async def run(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            self._binary, "-n", self.namespace, *arguments, env=self._environment, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate(stdin.encode())
        return process.returncode or 0, out.decode(), err.decode()

    async def __call__(self, *arguments: str, stdin: str = "") -> str:
        code, out, err = await self.run(*arguments, stdin=stdin)
        assert code == 0, f"kubectl {' '.join(arguments)}: {err}{out}"
        return out

    async def apply(self, *objects: dict[str, Any]) -> None:
        await self("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    async def json(self, *arguments: str) -> Any:
        return msgspec.json.decode(await self(*arguments, "-o", "json"))


@pytest.fixture
def kubectl(dev_cluster: DevCluster, world: World) -> Kubectl:
    return Kubectl(dev_cluster, world.namespace)
