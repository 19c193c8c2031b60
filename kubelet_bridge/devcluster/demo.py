"""`kubelet-bridge dev demo`: the main job, end to end, for somebody who has just cloned the repository."""

import asyncio
import os
from pathlib import Path

import aiohttp
import click

from kubelet_bridge.devcluster import demomode
from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.devcluster.hostmodes import HostMode
from kubelet_bridge.devcluster.preparation import Options
from kubelet_bridge.devcluster.progress import Progress
from kubelet_bridge.errors import Terminal
from kubelet_bridge.settings import cache_root

TIMEOUT = "600s"
_PAGE_SECONDS = 60.0
TABLES = (
    ("The virtual node, beside the node that plays a cloud host", ("get", "nodes", "-o", "wide")),
    ("The Pods, and the virtual machines they are", ("get", "pods,vm", "-o", "wide")),
    ("The Service sees the Pods, and only them", ("get", "endpointslices")),
)


_SERVICE = "kubernetes.io/service-name=web"
_ENDPOINT = "{.items[0].endpoints[0].addresses[0]}:{.items[0].ports[0].port}"


def suited(manifest: Path, mode: HostMode) -> Path:
    """``NAME.process.yaml`` beside ``NAME.yaml``, when the mode cannot run images and there is one."""
    other = manifest.with_suffix(f".process{manifest.suffix}")
    return other if mode is HostMode.PROCESS and other.exists() else manifest


async def run(manifest: Path, directory: Path | None, progress: Progress) -> None:
    """Bring everything up, apply ``manifest``, wait until its Deployments have rolled out, and show the result.

    Raises:
        Terminal: a step failed; what it printed says why.
    """
    cluster = DevCluster(directory, progress)
    mode = await asyncio.to_thread(demomode.choose, cache_root(), progress)
    manifest = await asyncio.to_thread(suited, manifest, mode)
    await cluster.up(Options(bridge=True, host_mode=mode))
    environment = {**os.environ, **cluster.env()}

    async def kubectl(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            str(cluster.layout.bin / "kubectl"), *arguments, env=environment, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        if process.returncode:
            raise Terminal(f"kubectl {' '.join(arguments)}: {err.decode().strip() or out.decode().strip()}")
        return out.decode()

    await kubectl("wait", "--for=condition=Ready", "node/kubelet-bridge", f"--timeout={TIMEOUT}")
    progress.say("node kubelet-bridge is Ready")
    with progress.step(f"waiting for {manifest}", f"{manifest} is rolled out"):
        await kubectl("apply", "-f", str(manifest))
        await kubectl("wait", "--for=condition=Available", "deployment", "--all", f"--timeout={TIMEOUT}")
    for title, arguments in TABLES:
        click.echo(f"\n{title}:\n{(await kubectl(*arguments)).rstrip()}")
    click.echo(f"\n{await asyncio.to_thread(cluster.guests)}")
    if mode.has_guests:
        endpoint = await kubectl("get", "endpointslices", "-l", _SERVICE, "-o", f"jsonpath={_ENDPOINT}")
        click.echo(f"\nThe page that http://{endpoint}/ answers with, from inside a Pod:")
        click.echo((await _page(f"http://{endpoint}/")).rstrip())


async def _page(url: str) -> str:
    """What ``url`` answers.

    Raises:
        Terminal: nothing, or an error.
    """
    try:
        limit = aiohttp.ClientTimeout(total=_PAGE_SECONDS)
        async with aiohttp.ClientSession(timeout=limit) as http, http.get(url) as answer:
            answer.raise_for_status()
            return await answer.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Terminal(f"{url} does not answer: {error}") from error


def next_commands(directory: Path | None) -> str:
    """What to try now."""
    shown = f" --directory {directory}" if directory else ""
    return "\n".join((
        "", "The cluster stays up in the background. Try:",
        f'  eval "$(.venv/bin/kubelet-bridge dev env{shown})"',
        "  kubectl get nodes,pods,vm -o wide",
        "  kubectl describe pod -l app=web",
        "  kubectl scale deployment web --replicas=5",
        "  kubectl delete pod -l app=web --wait=false; kubectl get pods -w",
        f"  .venv/bin/kubelet-bridge dev status{shown}",
        "and `make demo-down` to remove all of it.",
    ))  # fmt: skip
