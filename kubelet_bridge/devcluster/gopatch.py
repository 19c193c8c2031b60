"""Commands of others that take an address or a path from a constant: built from a copy in which it is a flag.

A Go constant cannot be set when linking, and a build overlay must not touch the module cache; so the main package, of a
file or two, is copied into the workspace, and the rest of its module stays as published.
"""

from pathlib import Path

import msgspec

from kubelet_bridge.errors import Terminal

PATCHES = "patches.json"


class Patch(msgspec.Struct, frozen=True):
    """Text of ``file`` that becomes another; it has to be there exactly once."""

    file: str
    old: str
    new: str


def lay(package: Path, workspace: Path, name: str) -> None:
    """Copy the Go files of ``package`` into the directory ``name`` of ``workspace``, patched by its ``patches.json``.

    Raises:
        Terminal: a patch does not fit, as may be after a change of version.
    """
    patches = msgspec.json.decode((workspace / PATCHES).read_bytes(), type=dict[str, list[Patch]])
    files = {path.name: path.read_text() for path in package.glob("*.go") if not path.name.endswith("_test.go")}
    for patch in patches[name]:
        files[patch.file] = _patched(files.get(patch.file, ""), patch, name)
    target = workspace / name
    target.mkdir(exist_ok=True)
    for file, text in files.items():
        (target / file).write_text(text)


def _patched(text: str, patch: Patch, name: str) -> str:
    if (count := text.count(patch.old)) != 1:
        raise Terminal(
            f"{name}/{patch.file} has {patch.old!r} {count} times, not once; {PATCHES} is for another version"
        )
    return text.replace(patch.old, patch.new)
