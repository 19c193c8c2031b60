"""An unchanged Deployment: its Pods are virtual machines, and what they serve is served by the image's own program."""

from pathlib import Path

import aiohttp
import pytest
import yaml

from tests.e2e.guests.waiting import SECONDS, gone
from tests.support.bridge import Bridge, Json, World, eventually
from tests.support.kubectl import Kubectl, forwarding

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

EXAMPLE = Path(__file__).parents[3] / "examples" / "web.yaml"


async def page(address: str, path: str = "/") -> tuple[int, str, str]:
    """Status, server and body of ``http://ADDRESS/``."""
    limit = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=limit) as http, http.get(f"http://{address}{path}") as answer:
        return answer.status, answer.headers.get("Server", ""), await answer.text()


async def endpoints(kubectl: Kubectl, name: str) -> list[str]:
    """``ADDRESS:PORT`` of every ready endpoint of a Service."""
    slices = await kubectl.json("get", "endpointslices", "-l", f"kubernetes.io/service-name={name}")
    return [
        f"{address}:{port['port']}"
        for one in slices["items"]
        for endpoint in one.get("endpoints") or []
        if endpoint["conditions"].get("ready")
        for address in endpoint["addresses"]
        for port in one["ports"]
    ]


async def test_nginx_answers_and_goes(world: World, bridge: Bridge, kubectl: Kubectl, tmp_path: Path) -> None:
    deployment, service = yaml.safe_load_all(EXAMPLE.read_text())
    deployment["spec"]["replicas"] = 1
    await kubectl.apply(deployment, service)
    await kubectl("rollout", "status", "deployment/web", f"--timeout={SECONDS:.0f}s")
    (pod,) = await world.pods(label_selector="app=web")
    assert pod["status"]["phase"] == "Running"
    assert state(pod)["started"] is True
    assert state(pod)["restartCount"] == 0

    status, server, body = await page(pod["status"]["podIP"])
    assert (status, server.partition("/")[0]) == (200, "nginx")
    assert "nginx" in body

    async def served() -> list[str]:
        return await endpoints(kubectl, "web")

    assert await eventually(served, "an endpoint of the Service") == [f"{pod['status']['podIP']}:80"]
    assert (await page(f"{pod['status']['podIP']}:80"))[0] == 200
    await enter(kubectl, tmp_path)

    await kubectl("delete", "deployment/web", "--wait=true", "--timeout=60s")

    await gone(world, pod)
    assert not await world.pods()


async def enter(kubectl: Kubectl, directory: Path) -> None:
    """exec, cp, logs, port-forward and figures of a container that podman runs in a guest."""
    code, out, _ = await kubectl.run("exec", "-i", "deploy/web", "--", "sh", "-c", "cat; exit 7", stdin="hello")
    assert (code, out) == (7, "hello")
    (directory / "copied.html").write_text("copied by kubectl\n")
    name = (await kubectl("get", "pods", "-l", "app=web", "-o", "name")).strip().removeprefix("pod/")
    await kubectl("cp", str(directory / "copied.html"), f"{name}:/var/www/html/copied.html")
    async with forwarding(kubectl, f"pod/{name}", 80) as port:
        body = (await page(f"127.0.0.1:{port}", "/copied.html"))[2]
    assert body == "copied by kubectl\n"
    await kubectl("cp", f"{name}:/var/www/html/copied.html", str(directory / "back.html"))
    assert (directory / "back.html").read_text() == "copied by kubectl\n"

    async def logged() -> bool:
        return "GET /copied.html" in await kubectl("logs", "deploy/web", "--tail=20")

    await eventually(logged, "the request in the log", seconds=SECONDS)
    node = (await kubectl.json("get", "pod", name))["spec"]["nodeName"]

    async def measured() -> bool:
        said = await kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/metrics/resource")
        return f'container_cpu_usage_seconds_total{{container="web",pod="{name}"' in said

    await eventually(measured, "figures of the container", seconds=SECONDS)


def state(pod: Json) -> Json:
    found: Json = pod["status"]["containerStatuses"][0]
    return found
