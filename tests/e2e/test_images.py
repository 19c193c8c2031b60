"""Images as they are built: they boot, and boot again whatever became of the machine before."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubelet_bridge.devcluster.devhost.qemu import accelerator, programs
from kubelet_bridge.devcluster.images import catalogue, tools
from kubelet_bridge.devcluster.progress import Progress
from tests.support.bootguest import Machine

LACKING = [*programs.missing(), *tools.missing()]
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can build images"),
]
LOGIN = b" login: "


@pytest.fixture(params=["runtime", "debian"])
async def machine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Machine]:
    (source,) = await asyncio.to_thread(catalogue.named, [request.param])
    image = await asyncio.to_thread(catalogue.ensure, source, Progress())
    chosen = await asyncio.to_thread(accelerator.choose, tmp_path)
    made = await asyncio.to_thread(Machine, tmp_path, image, chosen)
    try:
        yield made
    finally:
        await asyncio.to_thread(made.kill)


async def test_a_machine_boots_again_after_a_reset_and_after_it_was_killed(machine: Machine) -> None:
    await asyncio.to_thread(machine.start)
    await machine.says(LOGIN, 1)
    await machine.reset()
    await machine.says(LOGIN, 2)
    await asyncio.to_thread(machine.kill)
    await asyncio.to_thread(machine.start)
    await machine.says(LOGIN, 3)
