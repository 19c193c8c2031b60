"""Packing sources and wheels into one executable zip file, the same bytes each time."""

import io
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

import kubelet_bridge

_PACKAGE = Path(kubelet_bridge.__file__).parent
_VERSION_FILE = "kubelet_bridge/__init__.py"
_WHEN = (1980, 1, 1, 0, 0, 0)
_MAIN = b"""\
import os
import sys

# The link to this file changes with an update; modules that are imported after that must still come from this file.
sys.path[0] = os.path.realpath(sys.path[0])

from kubelet_bridge.agent.__main__ import start  # noqa: E402

if __name__ == "__main__":
    sys.exit(start())
"""


def sources() -> dict[str, bytes]:
    """What the agent is made of in this tree, by the path inside the archive."""
    agent = _PACKAGE / "agent"
    found = {
        str(path.relative_to(_PACKAGE.parent)): path.read_bytes()
        for path in agent.rglob("*.py")
        if path.relative_to(agent).parts[0] != "install"  # which is for those who put the agent onto a machine
    }
    return {_VERSION_FILE: (_PACKAGE / "__init__.py").read_bytes(), "__main__.py": _MAIN, **found}


def pack(files: dict[str, bytes], wheels: Iterable[Path]) -> bytes:
    """The archive, with an interpreter line in front; Python runs it as it is."""
    everything = dict(files)
    for wheel in wheels:
        everything |= _contents(wheel)
    # A namespace package would be looked for in the guest's own directories too, and zip files hold none well.
    everything["google/__init__.py"] = b""
    buffer = io.BytesIO(b"#!/usr/bin/env python3\n")
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(everything):
            entry = zipfile.ZipInfo(name, _WHEN)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, everything[name], compresslevel=9)
    return buffer.getvalue()


def version_in(path: Path) -> str:
    """The version of an archive that ``pack`` made.

    Raises:
        KeyError, ValueError, zipfile.BadZipFile: it is none.
    """
    with zipfile.ZipFile(path) as archive:
        archive.getinfo("kubelet_bridge/agent/main.py")
        found = re.search(r'^__version__ = "([^"]+)"$', archive.read(_VERSION_FILE).decode(), re.MULTILINE)
    if found is None:
        raise ValueError("it names no version")
    return found[1]


def _contents(wheel: Path) -> dict[str, bytes]:
    """Its modules, and the licences under which we pass them on."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if _is_wanted(name)}


def _is_wanted(name: str) -> bool:
    path = Path(name)
    if path.parts[0].endswith(".dist-info"):
        return path.name.upper().startswith(("LICENSE", "LICENCE", "NOTICE"))
    unused = ("testdata", "pyext", "compiler", "testing_refleaks.py", "testing.py", "server.py", "json_format.py")
    return path.suffix == ".py" and not set(path.parts) & set(unused)
