"""Fetching an agent's file from the bridge. It runs before there is an agent, so it imports nothing of it.

As a program (``python3 fetch.py SEED STATE``, which is how the installer uses it) it brings the file that the seed
names to ``STATE/agent`` and makes ``current.pyz`` point to it.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import ssl
import sys
import urllib.parse
from pathlib import Path

LIMIT = 16 * 1024 * 1024
"""Bytes. No agent is larger."""


class FetchError(Exception):
    """It did not come, or is not what was asked for; the message is one line."""


class _Pinned(http.client.HTTPSConnection):
    """The bridge is known by one authority and one name, whatever its address is."""

    def __init__(self, host: str, port: int, ca: str, server_name: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which verifies, and trusts nobody yet
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(cadata=ca)
        super().__init__(host, port, timeout=30, context=context)
        self._pinned = context
        self._server_name = server_name

    def connect(self) -> None:
        """Connect, and verify the name of the bridge instead of its address."""
        http.client.HTTPConnection.connect(self)
        self.sock = self._pinned.wrap_socket(self.sock, server_hostname=self._server_name)


def fetch(url: str, digest: str, size: int, ca: str, server_name: str, directory: Path) -> Path:
    """Bring the file to ``directory``, checked, as ``<digest>.pyz``; one that is there already is not fetched again.

    Raises:
        FetchError: it could not be fetched, or its size or SHA-256 differ.
    """
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise FetchError("the digest is not a SHA-256")
    target = directory / (digest + ".pyz")
    if target.exists() and hashlib.sha256(target.read_bytes()).hexdigest() == digest:
        return target
    try:
        content = _download(url, size, ca, server_name)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchError(f"{url}: {error}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise FetchError(f"{url}: the SHA-256 is {found}, not {digest}")
    place(target, content)
    return target


def _download(url: str, size: int, ca: str, server_name: str) -> bytes:
    if size > LIMIT:
        raise ValueError("is larger than an agent may be")
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError("not an https address")
    with contextlib.closing(_Pinned(parts.hostname, parts.port or 443, ca, server_name)) as connection:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"answered {answer.status} {answer.reason}")
        content = answer.read((size or LIMIT) + 1)
    if len(content) > (size or LIMIT) or (size and len(content) != size):
        raise ValueError(f"has another size than {size or LIMIT}")
    return content


def place(target: Path, content: bytes) -> None:
    """Write it so that it is there whole or not at all, whatever happens to the power or the disk.

    Raises:
        OSError: there is no room; nothing is left behind.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staged = target.with_name("." + target.name)
    try:
        with staged.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(target)
    except OSError:
        with contextlib.suppress(OSError):
            staged.unlink()
        raise
    _sync(target.parent)


def point(directory: Path, target: Path) -> None:
    """Make ``current.pyz`` in ``directory`` lead to ``target``, in one step."""
    staged = directory / ".current.pyz"
    with contextlib.suppress(FileNotFoundError):
        staged.unlink()
    staged.symlink_to(target.name)
    staged.replace(directory / "current.pyz")
    _sync(directory)


def _sync(directory: Path) -> None:
    handle = os.open(str(directory), os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_whole(file: Path) -> bool:
    """A file is named by its digest; one that an image brought under another name is taken as it is."""
    if not file.exists():
        return False
    name = file.resolve().name[: -len(".pyz")]
    return len(name) != 64 or hashlib.sha256(file.read_bytes()).hexdigest() == name


def main(seed: str, state: str) -> None:
    """What the installer runs.

    Raises:
        FetchError: as ``fetch``, or the seed names no file.
    """
    document = json.loads(Path(seed).read_text(encoding="utf-8"))
    agent = document.get("agent")
    if not agent:
        raise FetchError(seed + " names no agent")
    directory = Path(state) / "agent"
    if _is_whole(directory / "current.pyz"):
        return  # installed at an earlier boot; since then it has been replacing itself
    url, digest = agent["url"], agent["digest"]
    size = agent.get("size", 0)
    point(directory, fetch(url, digest, size, document["ca"], document["server_name"], directory))


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2])
    except (FetchError, OSError, ValueError, KeyError) as fault:
        sys.exit(f"kubelet-bridge: no agent: {fault}")
