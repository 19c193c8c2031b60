"""``kubelet-bridge run``: the daemon, from its settings to its exit code."""

import os
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
import yaml

from kubelet_bridge.daemon.main import main
from kubelet_bridge.errors import SettingsError
from kubelet_bridge.settings import Settings, merge, structured


def read_file(path: Path) -> dict[str, Any]:
    """A settings file: YAML (and so JSON) with one mapping.

    Raises:
        SettingsError: it cannot be read, or is something else.
    """
    try:
        found = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SettingsError(f"settings file {path}: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:  # PyYAML's messages have several lines
        raise SettingsError(f"settings file {path}: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict | None):
        raise SettingsError(f"settings file {path}: want a mapping of settings, got {type(found).__name__}")
    return found or {}


def _flags(command: Callable[..., None]) -> Callable[..., None]:
    """One option for each setting, none of them with a default: what is not given is left to file and environment."""
    for field in reversed(msgspec.structs.fields(Settings)):
        kind = typing.get_origin(field.type)
        choices = [str(one) for one in typing.get_args(field.type)] if kind is typing.Literal else None
        boolean = field.type is bool
        name = field.name.replace("_", "-")
        command = click.option(
            f"--{name}/--no-{name}" if boolean else f"--{name}",
            field.name,
            type=click.Choice(choices) if choices else None,
            default=None,
            metavar=None if boolean or choices else ("KEY=VALUE,…" if kind is dict else "VALUE"),
        )(command)
    return command


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), envvar="KUBELET_BRIDGE_CONFIG",
    help="Settings file (YAML). Environment variables KUBELET_BRIDGE_* win over it, flags over both.",
)  # fmt: skip
@_flags
def run(config: Path | None, **flags: Any) -> None:
    """Run the virtual node until SIGTERM or SIGINT. Every setting is described in docs/settings.md."""
    given = {name: structured(name, value) for name, value in flags.items() if value is not None}
    settings = merge(read_file(config) if config else {}, os.environ, given)
    raise SystemExit(main(settings))
