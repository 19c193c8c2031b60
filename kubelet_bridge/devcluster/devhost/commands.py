"""``kubelet-bridge dev host`` and ``dev fault``."""

import asyncio
import signal
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from kubelet_bridge.devcluster.devhost.faultapi import FaultClient, socket_path
from kubelet_bridge.devcluster.devhost.faults import Fault, FaultKind, check_target
from kubelet_bridge.devcluster.devhost.host import RUNTIMES, DevHost, HostConfig
from kubelet_bridge.devcluster.devhost.nodeobject import Capacity
from kubelet_bridge.devcluster.devhost.scripted import Timings
from kubelet_bridge.devcluster.layout import DIRECTORY_VARIABLE, Layout, default_directory, load_state
from kubelet_bridge.errors import Terminal
from kubelet_bridge.kube import credentials
from kubelet_bridge.kube.client import Client
from kubelet_bridge.telemetry.logging import logging_to

Result = TypeVar("Result")
Command = TypeVar("Command", bound=Callable[..., Any])

_SECONDS = click.FloatRange(min=0)

_directory = click.option(
    "--directory", type=click.Path(file_okay=False, path_type=Path), envvar=DIRECTORY_VARIABLE,
    help="The cluster's directory.",
)  # fmt: skip


def _delay(name: str, default: float, help_: str) -> Callable[[Command], Command]:
    variable = f"KUBELET_BRIDGE_DEV_{name.upper()}_SECONDS"
    return click.option(
        f"--{name}-seconds",
        type=_SECONDS,
        default=default,
        show_default=True,
        envvar=variable,
        show_envvar=True,
        help=help_,
    )


@click.command()
@_directory
@click.option("--node", default="dev-host-0", show_default=True, help="The Node to be; its number picks its addresses.")
@click.option("--mode", type=click.Choice(sorted(RUNTIMES)), default="none", show_default=True, help="How guests run.")
@_delay("pull", 0.0, "From a Pod's being bound until its containers start.")
@_delay("start", 0.0, "From the launcher's being ready until the guest is powered on.")
@_delay("boot", 0.0, "From then until its operating system is up.")
@_delay("shutdown", 0.0, "From the power button until it is off.")
@_delay("migrate", 0.5, "For a guest's memory to be sent.")
@click.option(
    "--guest-agent/--no-guest-agent", default=True, show_default=True, help="Whether guests have a guest agent."
)
@click.option("--cpu", default=Capacity().cpu, show_default=True, help="The Node's CPU capacity.")
@click.option("--memory", default=Capacity().memory, show_default=True, help="The Node's memory capacity.")
@click.option(
    "--pods", type=click.IntRange(1), default=Capacity().pods, show_default=True, help="The Node's Pod capacity."
)
def host(
    directory: Path | None, node: str, mode: str, pull_seconds: float, start_seconds: float, boot_seconds: float,
    shutdown_seconds: float, migrate_seconds: float, *, guest_agent: bool, cpu: str, memory: str, pods: int,
) -> None:  # fmt: skip
    """Be one host of the cluster, in the foreground: kubelet and virt-handler of a Node."""
    config = HostConfig(
        node=node, mode=mode, pull_seconds=pull_seconds, agent=guest_agent, capacity=Capacity(cpu, memory, pods),
        timings=Timings(start_seconds, boot_seconds, shutdown_seconds, migrate_seconds),
    )  # fmt: skip
    with logging_to():
        asyncio.run(_run_host(config, Layout(directory or default_directory())))


@click.group()
def fault() -> None:
    """Make things go wrong on running hosts.

    \b
    pull-error     the guest's image cannot be pulled
    unschedulable  the host is cordoned
    crash          the guest crashes, --after seconds from its power-on
    shutdown       the guest shuts down, --after seconds from its power-on
    never-ready    the launcher Pod's compute container is never ready
    hang           the guest ignores the power button

    TARGET is NAMESPACE/NAME of VirtualMachines or other Pods, as shell patterns. A container disk asks for a fault by
    its name: fault.test/crash-after-5:1, fault.test/shutdown-after-3, fault.test/pull-error, /never-ready, /hang.
    """  # noqa: D301 - \b is click's own, and must arrive as the one character it is


@fault.command("set")
@_directory
@click.option("--node", multiple=True, help="Only on this host. [default: all]")
@click.option("--after", type=_SECONDS, default=0.0, show_default=True, help="Seconds from the guest's power-on.")
@click.option("--once", is_flag=True, help="Forget the rule, on every host, once it was used.")
@click.argument("kind", type=click.Choice([kind.value for kind in FaultKind]))
@click.argument("target", default="*/*")
def set_(directory: Path | None, node: tuple[str, ...], after: float, kind: str, target: str, *, once: bool) -> None:
    """Set a fault of KIND for TARGET (everybody) and print its id."""
    rule = Fault(FaultKind(kind), check_target(target), after, once, id=uuid.uuid4().hex[:8])
    asyncio.run(_on_hosts(directory, node, lambda client: client.set(rule)))
    click.echo(rule.id)


@fault.command()
@_directory
@click.option("--node", multiple=True, help="Only on this host. [default: all]")
@click.argument("fault_id", required=False)
def clear(directory: Path | None, node: tuple[str, ...], fault_id: str | None) -> None:
    """Take a fault back, or all of them."""
    counts = asyncio.run(_on_hosts(directory, node, lambda client: client.clear(fault_id)))
    if fault_id and not any(counts.values()):
        raise click.ClickException(f"no fault {fault_id} is set")


@fault.command("list")
@_directory
def list_(directory: Path | None) -> None:
    """Show the faults that are set."""
    for name, rules in asyncio.run(_on_hosts(directory, (), lambda client: client.list())).items():
        for rule in rules:
            after = f" after {rule.after:g}s" if rule.after else ""
            click.echo(f"{rule.id}\t{name}\t{rule.kind}{after}\t{rule.target}{' once' if rule.once else ''}")


async def _run_host(config: HostConfig, layout: Layout) -> None:
    state = await asyncio.to_thread(load_state, layout)
    if state is None:
        raise Terminal(f"no cluster in {layout.directory}; `kubelet-bridge dev up` makes one")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Client(await credentials.load(layout.kubeconfig("admin"))) as client:
        await DevHost(config, state, layout, client).run(stop)


async def _on_hosts(
    directory: Path | None, nodes: tuple[str, ...], act: Callable[[FaultClient], Coroutine[Any, Any, Result]]
) -> dict[str, Result]:
    """What ``act`` gave on each host, by the host's name."""
    layout = Layout(directory or default_directory())
    state = await asyncio.to_thread(load_state, layout)
    if state is None:
        raise Terminal(f"no cluster in {layout.directory}; `kubelet-bridge dev up` makes one")
    results = {}
    for name in nodes or [f"dev-host-{number}" for number in range(state.hosts)]:
        async with FaultClient(socket_path(layout.run, name)) as client:
            results[name] = await act(client)
    return results
