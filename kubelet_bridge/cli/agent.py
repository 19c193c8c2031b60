"""``kubelet-bridge agent``: the file that runs in guests, for images and for daemons that may not build it."""

import os
from pathlib import Path

import click

from kubelet_bridge.guest import bundle


@click.group()
def agent() -> None:
    """The in-guest agent."""


@agent.command()
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Where to write the file."
)
@click.option(
    "--cache", type=click.Path(file_okay=False, path_type=Path),
    default=lambda: Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "kubelet-bridge",
    envvar="KUBELET_BRIDGE_CACHE", help="Where the libraries it carries are kept.",
)  # fmt: skip
def build(output: Path, cache: Path) -> None:
    """Build it: one file, the same bytes from the same tree."""
    bundle.build(output, cache)
    built = bundle.load(output)
    click.echo(f"{built.path}: agent {built.version}, {built.size} bytes, SHA-256 {built.digest}")
