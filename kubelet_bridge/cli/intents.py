"""``kubelet-bridge intents``: what the node has promised, read beside the daemon or without it."""

import asyncio
import logging
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from kubelet_bridge.cli.output import Output, as_json, output, sectioned, shown, state_dir
from kubelet_bridge.cli.tables import age, size, table
from kubelet_bridge.cli.volumes import volumes
from kubelet_bridge.settings import Settings
from kubelet_bridge.store import views
from kubelet_bridge.telemetry.logging import logging_to

_DEFAULTS = Settings()
_HEADERS = ("ID", "NAMESPACE", "NAME", "STATUS", "VM", "CPU", "MEMORY", "RESTARTS", "OUTCOME", "AGE")


@click.group()
def intents() -> None:
    """What this node has accepted and promised."""


@intents.command("list")
@state_dir
@output
@click.option("--all", "everything", is_flag=True, help="Destroyed ones too, as long as they are remembered.")
def list_(state_dir: Path, output: Output, everything: bool) -> None:
    """List the intents."""
    found = views.list_intents(state_dir, destroyed=everything)
    if output is Output.JSON:
        click.echo(as_json(found))
    elif found:
        now = datetime.now(UTC)
        click.echo(table(_HEADERS, [_row(one, now) for one in found]))
    else:
        click.echo("no intents")


@intents.command()
@click.argument("id", metavar="ID")
@state_dir
@output
def show(id: str, state_dir: Path, output: Output) -> None:  # noqa: A002 - the argument's name
    """Show one intent with its history. ID is dpl_…, a Pod's uid, or namespace/name."""
    found = views.show(state_dir, id)
    click.echo(as_json(found) if output is Output.JSON else _described(found))


@intents.command()
@state_dir
@output
@click.option(
    "--kubeconfig", type=click.Path(path_type=Path, dir_okay=False), envvar="KUBELET_BRIDGE_KUBECONFIG",
    help="Credentials; in-cluster ones when not given.",
)  # fmt: skip
@click.option(
    "--node-name", default=_DEFAULTS.node_name, show_default=True, envvar="KUBELET_BRIDGE_NODE_NAME",
    help="The Node whose Pods and VMs these are.",
)  # fmt: skip
def rebuild(state_dir: Path, output: Output, kubeconfig: Path | None, node_name: str) -> None:
    """Set the database aside and make a new one from the cluster. The daemon must not be running.

    Nothing in the cluster is changed. History, tombstones and finished actions stay behind in the old file.
    """
    from kubelet_bridge.cli.recover import recover  # the API server's client takes half a second to import

    with logging_to(level=logging.ERROR):
        recovered = asyncio.run(recover(state_dir, kubeconfig, node_name))
    if output is Output.JSON:
        click.echo(as_json(recovered))
        return
    if recovered.set_aside:
        click.echo(f"the former database is now {recovered.set_aside}")
    click.echo(f"{recovered.intents} intents from {recovered.virtual_machines} VMs and {recovered.pods} Pods")


def _row(one: views.Summary, now: datetime) -> tuple[str, ...]:
    return (
        one.id, one.namespace, one.name, one.status, one.vm_name, str(one.cpu), size(one.memory),
        str(one.restart_count), one.outcome, age(one.accepted_at, now),
    )  # fmt: skip


def _described(found: views.Detail) -> str:
    facts = msgspec.to_builtins(found.summary, builtin_types=(datetime,))
    facts |= {"memory": size(found.summary.memory), "disk": size(found.summary.disk)}
    return sectioned(facts, (
        ("History", ("AT", "FROM", "TO", "REASON"), [
            (shown(one.at), one.from_status, one.to_status, one.reason) for one in found.history
        ]),
        ("Boots", ("VMI", "STARTED", "FINISHED", "EXIT", "REASON"), [
            (one.vmi_uid, shown(one.started_at), shown(one.finished_at), shown(one.exit_code), one.reason)
            for one in found.restarts
        ]),
        ("Actions", ("NONCE", "ACTION", "REQUESTED", "STATE", "RESULT"), [
            (one.nonce, one.action, shown(one.requested_at), one.state, one.result) for one in found.actions
        ]),
    ))  # fmt: skip


intents.add_command(volumes)
