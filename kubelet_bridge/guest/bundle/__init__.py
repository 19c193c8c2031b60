"""The agent as one file: built from this tree and pinned wheels, or built before and named by a path.

Used by the daemon (which serves the file), the development cluster and image builders. It talks to a package index
only when the wheels are not in the cache yet.
"""

import contextlib
import hashlib
import os
import tempfile
import zipfile
from pathlib import Path

import msgspec

from kubelet_bridge.errors import Terminal
from kubelet_bridge.guest.bundle.archive import pack, sources, version_in
from kubelet_bridge.guest.bundle.wheels import REQUIREMENTS, wheels

LIMIT = 3 * 1024 * 1024
"""Bytes. Each guest fetches it at its first boot."""


class Bundle(msgspec.Struct, frozen=True):
    """An agent's file; ``digest`` is the SHA-256 of its ``size`` bytes."""

    path: Path
    version: str
    digest: str
    size: int


def ensure(cache: Path) -> Bundle:
    """The agent of this source tree, from ``cache`` or built into it; blocks, the first time for some seconds.

    Raises:
        Terminal: the wheels cannot be had, or the file would be too large.
    """
    files = sources()
    path = cache / f"agent-{_key(files)}" / "agent.pyz"
    with contextlib.suppress(Terminal, FileNotFoundError):
        return load(path)
    build(path, cache)
    return load(path)


def build(path: Path, cache: Path) -> None:
    """Write the agent's file to ``path``; the same tree gives the same bytes. Raises what ``ensure`` does."""
    content = pack(sources(), wheels(cache))
    if len(content) > LIMIT:
        raise Terminal(f"the agent is {len(content)} bytes, and may be {LIMIT}")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, staged = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(content)
    Path(staged).replace(path)


def load(path: Path) -> Bundle:
    """An agent's file that is there already.

    Raises:
        FileNotFoundError: it is not.
        Terminal: it is something else.
    """
    content = path.read_bytes()
    try:
        version = version_in(path)
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise Terminal(f"{path} is not an agent: {error}") from error
    return Bundle(path=path, version=version, digest=hashlib.sha256(content).hexdigest(), size=len(content))


def _key(files: dict[str, bytes]) -> str:
    """Of everything that goes into the file."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes())
    digest.update(Path(pack.__code__.co_filename).read_bytes())
    for name in sorted(files):
        digest.update(f"\0{name}\0{len(files[name])}\0".encode() + files[name])
    return digest.hexdigest()[:16]
