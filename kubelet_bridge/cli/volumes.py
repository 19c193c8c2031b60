"""``kubelet-bridge intents volumes``: the disks that the node has promised, read as the Pods' intents are."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from kubelet_bridge.cli.output import Output, as_json, output, sectioned, shown, state_dir
from kubelet_bridge.cli.tables import age, table
from kubelet_bridge.store import volumeviews

_HEADERS = ("ID", "NAMESPACE", "CLAIM", "STATUS", "DATAVOLUME", "SIZE", "CLASS", "SOURCE", "AGE")


@click.command()
@click.argument("wanted", metavar="[ID]", default="")
@state_dir
@output
@click.option("--all", "everything", is_flag=True, help="Destroyed ones too, as long as they are remembered.")
def volumes(wanted: str, state_dir: Path, output: Output, everything: bool) -> None:
    """List the disks of claims, or show one with its history. ID is vol_…, a claim's uid, or namespace/name."""
    if wanted:
        detail = volumeviews.show_volume(state_dir, wanted)
        click.echo(as_json(detail) if output is Output.JSON else _described(detail))
        return
    found = volumeviews.list_volumes(state_dir, destroyed=everything)
    if output is Output.JSON:
        click.echo(as_json(found))
    elif found:
        now = datetime.now(UTC)
        click.echo(table(_HEADERS, [_row(one, now) for one in found]))
    else:
        click.echo("no disks")


def _row(one: volumeviews.VolumeSummary, now: datetime) -> Sequence[str]:
    return (
        one.id, one.namespace, one.name, one.status, one.datavolume, one.size, one.backing_class, one.source,
        age(one.accepted_at, now),
    )  # fmt: skip


def _described(found: volumeviews.VolumeDetail) -> str:
    facts = msgspec.to_builtins(found.summary, builtin_types=(datetime,))
    history = [(shown(one.at), one.from_status, one.to_status, one.reason) for one in found.history]
    return sectioned(facts, [("History", ("AT", "FROM", "TO", "REASON"), history)])
