"""The parts of user-data that the bridge wrote: ``#cloud-config`` whose body is JSON, alone or in a MIME multipart.

What others wrote (YAML, scripts) is cloud-init's business and left out. Pure.
"""

from __future__ import annotations

import base64
import email
import gzip
import json
from typing import Any, Iterator, NamedTuple

_MARK = "#cloud-config"


class SeedFile(NamedTuple):
    """An entry of ``write_files``."""

    path: str
    mode: int
    content: bytes


class UserData(NamedTuple):
    """What is understood of it; ``hostname`` is empty when none is named."""

    hostname: str
    files: list[SeedFile]


def parse(content: bytes) -> UserData:
    """All documents in ``content`` that can be understood, in their order; a later hostname wins."""
    hostname = ""
    files: list[SeedFile] = []
    for document in _documents(content):
        name = document.get("hostname")
        hostname = name if isinstance(name, str) and name else hostname
        entries = [entry for entry in document.get("write_files") or [] if isinstance(entry, dict)]
        files += [
            SeedFile(str(entry.get("path", "")), _mode(entry.get("permissions")), _content(entry)) for entry in entries
        ]
    return UserData(hostname, files)


def _documents(content: bytes) -> Iterator[dict[str, Any]]:
    text = content.decode("utf-8", "replace")
    if text.startswith(_MARK):
        parts = [text]
    else:
        message = email.message_from_bytes(content)
        decoded = [part.get_payload(decode=True) for part in message.walk() if not part.is_multipart()]
        parts = [part.decode("utf-8", "replace") for part in decoded if isinstance(part, bytes)]
    for part in parts:
        body = part.lstrip()
        if not body.startswith(_MARK):
            continue
        try:
            document = json.loads(body.partition("\n")[2])
        except ValueError:
            continue  # YAML that is not JSON was not written by the bridge
        if isinstance(document, dict):
            yield document


def _mode(permissions: object) -> int:
    try:
        return int(str(permissions), 8) & 0o777
    except ValueError:
        return 0o600


def _content(entry: dict[str, Any]) -> bytes:
    content = str(entry.get("content", ""))
    encoding = str(entry.get("encoding", "")).lower()
    if encoding in ("", "text/plain"):
        return content.encode()
    raw = base64.b64decode(content) if "b64" in encoding or "base64" in encoding else content.encode()
    if encoding.startswith(("gz", "gzip")):
        return gzip.decompress(raw)
    return raw
