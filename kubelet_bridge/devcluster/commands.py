"""`kubelet-bridge dev`: the development cluster's command line."""

import asyncio
import importlib
import shlex
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from kubelet_bridge.devcluster import demo
from kubelet_bridge.devcluster.binaries import helm, obtain, old_kubectl
from kubelet_bridge.devcluster.cluster import ComponentStatus, DevCluster
from kubelet_bridge.devcluster.devhost.addresses import MAX_HOSTS
from kubelet_bridge.devcluster.hostmodes import HostMode
from kubelet_bridge.devcluster.layout import DIRECTORY_VARIABLE
from kubelet_bridge.devcluster.preparation import Options
from kubelet_bridge.devcluster.programs import pinned_version
from kubelet_bridge.devcluster.progress import Progress
from kubelet_bridge.errors import BridgeError

Result = TypeVar("Result")

_LATER = {
    "host": "kubelet_bridge.devcluster.devhost.commands",
    "fault": "kubelet_bridge.devcluster.devhost.commands",
    "images": "kubelet_bridge.devcluster.images.commands",
}


class _DevGroup(click.Group):
    """Loads some commands only when they are asked for: nothing else needs their imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_LATER])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if (module := _LATER.get(cmd_name)) is None:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(importlib.import_module(module), cmd_name)
        return command


@click.group(cls=_DevGroup)
def dev() -> None:
    """A real control plane on this machine: etcd, Kubernetes, KubeVirt, and a stand-in for the host."""


directory_option = click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    envvar=DIRECTORY_VARIABLE,
    help="Where the cluster keeps its files. Several clusters live side by side in several directories.",
)


_version_option = click.option(
    "--kubernetes-version",
    metavar="X.Y.Z",
    help=f"Kubernetes to run; built when it is not there yet. [default: {pinned_version('kubernetes')}]",
)


@dev.command()
@directory_option
@_version_option
@click.option("--hosts", type=click.IntRange(0, MAX_HOSTS), help="How many dev hosts. [default: 1]")
@click.option(
    "--host-mode",
    "--mode",
    "mode",
    type=click.Choice([mode.value for mode in HostMode]),
    help="How dev hosts run VirtualMachineInstances. [default: none]",
)
@click.option("--bridge/--no-bridge", default=None, help="Run the bridge too. [default: no]")
def up(
    directory: Path | None, kubernetes_version: str | None, hosts: int | None, mode: str | None, *, bridge: bool | None
) -> None:
    """Make the cluster, or repair it. A cluster that runs is left alone."""
    cluster = DevCluster(directory, Progress())
    options = Options(kubernetes_version=kubernetes_version, hosts=hosts, host_mode=mode, bridge=bridge)
    _run(cluster.up(options))
    shown = f" --directory {shlex.quote(str(directory))}" if directory else ""
    click.echo(f'To use it: eval "$(kubelet-bridge dev env{shown})"', err=True)


@dev.command()
@directory_option
def down(directory: Path | None) -> None:
    """End the cluster's processes, take its addresses back, and delete its directory."""
    _run(DevCluster(directory, Progress()).down())


@dev.command()
@directory_option
def status(directory: Path | None) -> None:
    """Show every component. Exit code 1 when one is not running well."""
    cluster = DevCluster(directory)
    rows = _run(cluster.status())
    _table(rows)
    click.echo(cluster.guests())
    if any(row.state != "running" for row in rows):
        raise SystemExit(1)


@dev.command()
@directory_option
def env(directory: Path | None) -> None:
    """Print shell commands that point kubectl at the cluster: eval "$(kubelet-bridge dev env)"."""
    cluster = DevCluster(directory)
    try:
        _ = cluster.state
    except BridgeError as error:
        raise click.ClickException(error.message) from error
    for name, value in cluster.env().items():
        click.echo(f"export {name}={shlex.quote(value)}")


@dev.command("binaries")
@_version_option
@click.option("--for-tests", is_flag=True, help="Also helm and an old kubectl, which only the tests need.")
def binaries_(kubernetes_version: str | None, for_tests: bool) -> None:
    """Find or build every program of the cluster, and print where each is."""
    progress = Progress()
    try:
        paths = obtain(kubernetes_version, progress).paths
        if for_tests:
            paths = paths | {"helm": helm(progress), "old-kubectl": old_kubectl(progress)}
    except BridgeError as error:
        raise click.ClickException(error.message) from error
    for name, path in paths.items():
        click.echo(f"{name}\t{path}")


@dev.command("demo")
@directory_option
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def demo_(directory: Path | None, manifest: Path) -> None:
    """Bring up cluster and bridge, apply MANIFEST, wait for its Deployments, and show what they became."""
    _run(demo.run(manifest, directory, Progress()))
    click.echo(demo.next_commands(directory))


def _table(rows: list[ComponentStatus]) -> None:
    cells = [("COMPONENT", "PID", "STATE", "ADDRESS")]
    cells += [(row.name, str(row.pid or "-"), row.state, row.address) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    for line in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """One line and exit code 1 for what a person can do something about; a traceback for our own mistakes."""
    try:
        return asyncio.run(work)
    except BridgeError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")) from error
