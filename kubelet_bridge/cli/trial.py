"""``kubelet-bridge trial``: a Pod is scheduled, becomes Ready, and is deleted. ``helm test`` runs this."""

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Any

import click
import msgspec
import yaml

from kubelet_bridge.errors import NotFound, Terminal, Transient
from kubelet_bridge.kube import credentials
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.resources import PODS

_LOOK_EVERY = 1.0


def read_pod(path: Path) -> dict[str, Any]:
    """The one Pod in a file; it has to name its namespace.

    Raises:
        Terminal: the file holds something else.
    """
    try:
        found = yaml.safe_load(path.read_text())
        pod = msgspec.convert(found, Pod)
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise Terminal(f"{path}: {' '.join(str(error).split())}") from error
    if found.get("kind") != "Pod" or not pod.metadata.name or not pod.metadata.namespace:
        raise Terminal(f"{path}: want a Pod with a name and a namespace")
    return dict(found)


async def try_pod(client: Client, manifest: dict[str, Any], *, seconds: float) -> str:
    """The node on which ``manifest`` became Ready. The Pod is deleted in any case.

    Raises:
        Terminal: it did not within ``seconds``, or has ended; with what its status says.
        ApiError: the Pod cannot be made, as when one of that name is there.
    """
    namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
    await client.create(PODS, namespace, manifest)
    try:
        return await _ready(client, namespace, name, seconds)
    finally:
        with contextlib.suppress(NotFound):
            await client.delete(PODS, namespace, name)


async def _ready(client: Client, namespace: str, name: str, seconds: float) -> str:
    last = "nothing is known of it"
    try:
        async with asyncio.timeout(seconds):
            while True:
                with contextlib.suppress(Transient):
                    pod = msgspec.json.decode(await client.get(PODS, namespace, name), type=Pod)
                    if _is_ready(pod):
                        return pod.spec.node_name
                    last = _words(pod)
                    if pod.status.phase in ("Succeeded", "Failed"):
                        raise Terminal(f"Pod {namespace}/{name} has ended: {last}")
                await asyncio.sleep(_LOOK_EVERY)
    except TimeoutError:
        raise Terminal(f"Pod {namespace}/{name} is not Ready after {seconds:.0f} s: {last}") from None


def _is_ready(pod: Pod) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)


def _words(pod: Pod) -> str:
    """What its status says, in one line."""
    untrue = [one for one in pod.status.conditions if one.status != "True"]
    said = [pod.status.message, *(f"{one.type}: {one.reason} {one.message}".strip() for one in untrue)]
    return "; ".join([f"phase {pod.status.phase or 'Pending'}", *filter(None, said)])


@click.command()
@click.option("--manifest", type=click.Path(path_type=Path, dir_okay=False), required=True, help="A file with one Pod.")
@click.option("--timeout", "seconds", type=click.FloatRange(min=1), default=600, show_default=True)
@click.option(
    "--kubeconfig", type=click.Path(path_type=Path, dir_okay=False), help="Credentials; a Pod's own without it."
)
def trial(manifest: Path, seconds: float, kubeconfig: Path | None) -> None:
    """Create a Pod, wait until it is Ready, and delete it."""
    wanted = read_pod(manifest)

    async def run() -> str:
        if task := asyncio.current_task():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # SIGINT cancels as it is
        async with Client(await credentials.load(kubeconfig)) as client:
            return await try_pod(client, wanted, seconds=seconds)

    try:
        click.echo(f"Ready on {asyncio.run(run())}")
    except asyncio.CancelledError:
        raise Terminal("ended by a signal before the Pod was Ready") from None
