"""As much of HTTP/1.1 as a client of podman's socket needs; no I/O."""

from __future__ import annotations

import json
from typing import Any, Mapping, NamedTuple
from urllib.parse import urlencode

MOST_LINE = 4096
_HEXADECIMAL = b"0123456789abcdefABCDEF"


class NotHttp(ValueError):
    """The other side does not speak HTTP/1.1 as we know it."""


class Head(NamedTuple):
    """A response without its body; the names of ``headers`` are in lower case."""

    status: int
    headers: Mapping[str, str]

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    @property
    def length(self) -> int | None:
        """The body's length, if it is told."""
        value = self.headers.get("content-length")
        if value is None:
            return None
        if not value.isdigit():
            raise NotHttp(f"content-length {value!r}")
        return int(value)


def request(method: str, path: str, query: Mapping[str, str], body: Any = None, *, upgrade: bool = False) -> bytes:
    """A request with a JSON body, or without one; ``upgrade`` asks for the bare connection afterwards."""
    target = f"{path}?{urlencode(query)}" if query else path
    lines = [f"{method} {target} HTTP/1.1", "Host: podman"]
    lines += ["Connection: Upgrade", "Upgrade: tcp"] if upgrade else ["Connection: close"]
    content = b"" if body is None else json.dumps(body).encode()
    if body is not None:
        lines.append("Content-Type: application/json")
    lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + content


def parse_head(data: bytes) -> Head:
    """The head of a response, its closing empty line included.

    Raises:
        NotHttp: it is none.
    """
    first, *rest = data.decode("latin-1").rstrip("\r\n").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not (words[1].isascii() and words[1].isdigit()):
        raise NotHttp(f"response begins with {first[:80]!r}")
    headers: dict[str, str] = {}
    for line in rest:
        name, colon, value = line.partition(":")
        if not colon:
            raise NotHttp(f"header {line[:80]!r}")
        headers[name.strip().lower()] = value.strip()
    return Head(int(words[1]), headers)


class Chunks:
    """Takes a chunked body as it comes and gives what it holds; ``done`` once its last chunk has come."""

    def __init__(self) -> None:
        self.done = False
        self._line = b""
        self._left = 0
        self._ending = False  # the empty line after a chunk's data is due

    def feed(self, data: bytes) -> bytes:
        """The content.

        Raises:
            NotHttp: a chunk's size makes no sense.
        """
        found: list[bytes] = []
        while data and not self.done:
            if self._left:
                piece, data = data[: self._left], data[self._left :]
                self._left -= len(piece)
                self._ending = not self._left
                found.append(piece)
                continue
            line, newline, rest = data.partition(b"\n")
            self._line += line
            data = rest
            if len(self._line) > MOST_LINE:
                raise NotHttp("a chunk's size does not end")
            if newline:
                self._take(self._line.rstrip(b"\r"))
                self._line = b""
        return b"".join(found)

    def _take(self, line: bytes) -> None:
        if self._ending:
            if line:
                raise NotHttp(f"a chunk goes on with {line[:20]!r}")
            self._ending = False
            return
        size = line.partition(b";")[0].strip()
        self._left = int(size, 16) if size and all(digit in _HEXADECIMAL for digit in size) else -1
        if self._left < 0:
            raise NotHttp(f"chunk size {size[:20]!r}")
        self.done = not self._left
