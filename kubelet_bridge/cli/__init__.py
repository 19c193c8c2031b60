"""The ``kubelet-bridge`` command. Each subcommand is a module of its own, imported only when it is called.

The top: it may import everything, nothing imports it.
"""

import importlib
from typing import Any, NamedTuple

import click

from kubelet_bridge import __version__
from kubelet_bridge.errors import BridgeError


class _Entry(NamedTuple):
    module: str
    attribute: str
    help: str


_COMMANDS = {
    "run": _Entry("kubelet_bridge.cli.run", "run", "Run the virtual node."),
    "render": _Entry("kubelet_bridge.cli.render", "render", "Print the objects a Pod would become."),
    "intents": _Entry("kubelet_bridge.cli.intents", "intents", "What this node has accepted and promised."),
    "trial": _Entry("kubelet_bridge.cli.trial", "trial", "Create a Pod, wait until it is Ready, and delete it."),
    "agent": _Entry("kubelet_bridge.cli.agent", "agent", "Build the agent that runs in guests."),
    "dev": _Entry("kubelet_bridge.devcluster.commands", "dev", "A cluster on this machine, for trying and testing."),
    "docs": _Entry("kubelet_bridge.cli.docs", "docs", "Write or check the documentation that is made from the code."),
}


class LazyGroup(click.Group):
    """Knows its subcommands by name and one line of help, so that ``--help`` imports none of them.

    An error that this project raises on purpose is one line on standard error and exit code 1.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names, in the order of the help text."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one subcommand."""
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(importlib.import_module(entry.module), entry.attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of subcommands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a subcommand."""
        try:
            return super().invoke(ctx)
        except BridgeError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="kubelet-bridge")
def main() -> None:
    """A virtual Kubernetes node whose Pods are KubeVirt virtual machines."""
