"""httpGet, as pkg/probe/http does it: a connection per request, certificates unverified, redirects on the same host."""

from __future__ import annotations

import asyncio
import ssl
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from kubelet_bridge.agent.probing.result import OUTPUT_BYTES, Result, failed, passed
from kubelet_bridge.agent.reasons import reason
from kubelet_bridge.agent.v1 import agent_pb2 as pb

USER_AGENT = "kube-probe/1.36"
MAX_REDIRECTS = 10
_HEAD_BYTES = 64 * 1024
_CHARACTERS = "/%:@!$&'()*+,;=~?#[]"


class HttpError(Exception):
    """No answer, or none that could be understood; the message is a line of a probe's output."""


class Answer(NamedTuple):
    """A status with at most ``OUTPUT_BYTES`` of its body."""

    status: int
    location: str
    body: bytes


async def check(action: pb.HttpGet, host: str) -> Result:
    """Ask once; the caller limits the time."""
    secure = action.scheme.upper() == "HTTPS"
    path = action.path or "/"
    address = f"[{host}]" if ":" in host else host
    first = f"{'https' if secure else 'http'}://{address}:{action.port}{path if path.startswith('/') else '/' + path}"
    headers = [(one.name, one.value) for one in action.headers]
    try:
        answer, followed = await _follow(first, headers)
    except HttpError as error:
        return failed(f'Get "{first}": {error}')
    body = answer.body.decode("utf-8", "replace")
    if not 200 <= answer.status < 400:
        return failed(f"HTTP probe failed with statuscode: {answer.status}")
    if answer.status >= 300 and not followed:
        return passed(f"Probe terminated redirects, Response body: {body}", warning=True)
    return passed(body)


async def _follow(url: str, headers: list[tuple[str, str]]) -> tuple[Answer, bool]:
    """The last answer, and whether every redirect that could be followed was."""
    host = urlsplit(url).hostname
    for _ in range(MAX_REDIRECTS):
        answer = await fetch(url, headers)
        if answer.status not in (301, 302, 303, 307, 308) or not answer.location:
            return answer, answer.status < 300
        url = urljoin(url, answer.location)
        if urlsplit(url).hostname != host or urlsplit(url).scheme not in {"http", "https"}:
            return answer, False
    raise HttpError(f"stopped after {MAX_REDIRECTS} redirects")


async def fetch(url: str, headers: list[tuple[str, str]]) -> Answer:
    """GET it over a connection of its own.

    Raises:
        HttpError: there was no answer.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    context = _unverified() if parts.scheme == "https" else None
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=_HEAD_BYTES)
    except OSError as error:
        raise HttpError(f"dial tcp {parts.netloc}: connect: {reason(error)}") from error
    try:
        writer.write(request(parts.netloc, parts.path, parts.query, headers))
        await writer.drain()
        return await _answer(reader)
    except OSError as error:
        raise HttpError(f"read tcp {parts.netloc}: {reason(error)}") from error
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        raise HttpError(
            "EOF" if isinstance(error, asyncio.IncompleteReadError) else "malformed HTTP response"
        ) from error
    finally:
        writer.transport.abort()


def request(authority: str, path: str, query: str, headers: list[tuple[str, str]]) -> bytes:
    """The bytes of a request; the headers given replace our own, and no header gets another line in."""
    given = {name.lower() for name, _ in headers}
    own = [("Host", authority), ("User-Agent", USER_AGENT), ("Accept", "*/*")]
    fields = [(name, value) for name, value in own if name.lower() not in given]
    fields += [(name, value) for name, value in headers if value or name.lower() not in {"accept", "user-agent"}]
    fields.append(("Connection", "close"))
    target = quote(path or "/", safe=_CHARACTERS) + (f"?{quote(query, safe=_CHARACTERS)}" if query else "")
    lines = [f"GET {target} HTTP/1.1", *(f"{_flat(name)}: {_flat(value)}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("utf-8")


async def _answer(reader: asyncio.StreamReader) -> Answer:
    status, fields = 100, {}
    while 100 <= status < 200:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        version, _, rest = lines[0].partition(" ")
        if not version.startswith("HTTP/1."):
            raise ValueError(lines[0])
        status = int(rest.split(" ")[0])
        fields = {name.strip().lower(): value.strip() for name, _, value in (one.partition(":") for one in lines[1:])}
    body = await _body(reader, fields)
    return Answer(status, fields.get("location", ""), body)


async def _body(reader: asyncio.StreamReader, fields: dict[str, str]) -> bytes:
    if "chunked" in fields.get("transfer-encoding", "").lower():
        return await _chunks(reader)
    length = fields.get("content-length", "")
    wanted = min(int(length), OUTPUT_BYTES) if length.isdigit() else OUTPUT_BYTES
    body = b""
    while len(body) < wanted:
        data = await reader.read(wanted - len(body))
        if not data:
            break
        body += data
    return body


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while len(body) < OUTPUT_BYTES:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size == 0:
            break
        body += await reader.readexactly(min(size, OUTPUT_BYTES - len(body)))
        if len(body) < OUTPUT_BYTES:
            await reader.readexactly(2)
    return body


def _unverified() -> ssl.SSLContext:
    """As a kubelet: a probe asks whether it answers, not who it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _flat(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ")
