"""Jobs: how a container ended is how its Pod did, and its Job; the machine goes with it."""

import pytest

from kubelet_bridge.model.resources import VIRTUALMACHINES
from tests.e2e.guests.waiting import SECONDS
from tests.support import guestpods
from tests.support.bridge import Bridge, Json, World, eventually
from tests.support.keptlogs import kept
from tests.support.kubectl import Kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]


def job(world: World, name: str, script: str) -> Json:
    """A Job that tries once."""
    container = guestpods.shell("main", script, image="busybox", imagePullPolicy="IfNotPresent")
    template = world.pod(name, container=container, restartPolicy="Never")
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {
            "backoffLimit": 0,
            "template": {"metadata": {"labels": {"app": name}}, "spec": template["spec"]},
        },
    }  # fmt: skip


async def test_jobs_end_as_their_containers_do(world: World, bridge: Bridge, kubectl: Kubectl) -> None:
    bad = job(world, "bad", "echo farewell; exit 3")
    good = job(world, "good", "echo farewell; exit 0")
    await kubectl.apply(bad, good)
    await kubectl("wait", "--for=condition=Failed", "job/bad", f"--timeout={SECONDS:.0f}s")
    await kubectl("wait", "--for=condition=Complete", "job/good", f"--timeout={SECONDS:.0f}s")
    assert await _end(world, bridge, "bad") == ("Failed", 3, "Error", 0)
    assert await _end(world, bridge, "good") == ("Succeeded", 0, "Completed", 0)

    async def no_machine() -> bool:
        return not await world.find(VIRTUALMACHINES)

    await eventually(no_machine, "no machine of a Pod that has ended", seconds=SECONDS)


async def _end(world: World, bridge: Bridge, name: str) -> tuple[str, int, str, int]:
    """Phase, exit code, reason and restarts of the one Pod of a Job, whose last words were kept."""
    (pod,) = await world.pods(label_selector=f"app={name}")
    (status,) = pod["status"]["containerStatuses"]
    assert await kept(bridge, pod["metadata"]["uid"], "main") == ["farewell"]
    end = status["state"]["terminated"]
    assert end["startedAt"] <= end["finishedAt"]
    return pod["status"]["phase"], end["exitCode"], end["reason"], status["restartCount"]
