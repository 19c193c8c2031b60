"""What commands that read the database have in common: where it is, and how what was found is printed."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import click
import msgspec

from kubelet_bridge.cli.tables import table
from kubelet_bridge.settings import Settings


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


state_dir = click.option(
    "--state-dir", type=click.Path(path_type=Path, file_okay=False), default=Settings().state_dir, show_default=True,
    envvar="KUBELET_BRIDGE_STATE_DIR", help="The daemon's state directory.",
)  # fmt: skip
output = click.option(
    "-o", "--output", type=click.Choice(Output, case_sensitive=False), default=Output.TABLE, show_default="table"
)


Section = tuple[str, Sequence[str], Sequence[Sequence[str]]]
"""Title, headers and rows of a table."""


def sectioned(facts: Mapping[str, object], sections: Iterable[Section]) -> str:
    """Facts line by line, then the tables that have rows."""
    lines = [f"{name.replace('_', ' ').capitalize() + ':':<17}{shown(value)}" for name, value in facts.items()]
    for title, headers, rows in sections:
        if rows:
            lines += ["", f"{title}:", table(headers, rows)]
    return "\n".join(lines)


def shown(value: object) -> str:
    """A value in a table or beside its name; ``-`` for none."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    return "-" if value is None or value == "" else str(value)


def as_json(value: object) -> str:
    """For programs, and legible."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
