"""``kubelet-bridge docs``: the pages that are made from the code, and a check that they still say what it does."""

from pathlib import Path

import click

from kubelet_bridge.settings import reference
from kubelet_bridge.translate.supportpage import document

_SETTINGS = """\
# Settings

Made by `make docs` from `kubelet_bridge/settings.py`. A file (`--config`, YAML), then environment variables, then
flags: the later wins.
The variable of `node_name` is `KUBELET_BRIDGE_NODE_NAME`. An unknown name is refused, and the nearest
one named.

"""


def pages() -> dict[str, str]:
    """Every generated page by file name."""
    return {"settings.md": _SETTINGS + reference(), "what-cannot-be-a-vm.md": document()}


@click.command()
@click.option("--write", type=click.Path(file_okay=False, path_type=Path), help="Write the pages to this directory.")
@click.option("--check", type=click.Path(file_okay=False, path_type=Path), help="Exit 1 when one there is stale.")
def docs(write: Path | None, check: Path | None) -> None:
    """Write or check the documentation that is made from the code."""
    for name, text in pages().items():
        if write is not None:
            (write / name).write_text(text)
        if check is not None and (not (check / name).exists() or (check / name).read_text() != text):
            raise click.ClickException(f"{check / name} is stale: run `make docs`")
