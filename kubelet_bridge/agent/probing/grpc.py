"""grpc.health.v1.Health/Check over plain HTTP/2, as pkg/probe/grpc asks it; h2 is in the agent's bundle."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kubelet_bridge.agent.probing.http import USER_AGENT
from kubelet_bridge.agent.probing.result import Result, failed, passed, unknown
from kubelet_bridge.agent.reasons import reason

if TYPE_CHECKING:
    from h2.connection import H2Connection

PATH = "/grpc.health.v1.Health/Check"
STATUSES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_SERVING = 1
_UNIMPLEMENTED = 12
# More than this is no health answer.
_ANSWER_BYTES = 64 * 1024


class _Answer:
    """What has come so far."""

    def __init__(self) -> None:
        self.data = b""
        self.headers: dict[str, str] = {}
        self.over = False


async def check(host: str, port: int, service: str) -> Result:
    """Ask once; the caller limits the time."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        why = reason(error)
        return failed(f'error: failed to connect service at "{address}": dial tcp {address}: connect: {why}')
    try:
        answer = await _ask(reader, writer, address, service)
    except (OSError, EOFError, ValueError) as error:
        return failed(f"error: health rpc probe failed: {error}")
    finally:
        writer.transport.abort()
    return judge(answer.headers, answer.data)


def judge(headers: dict[str, str], data: bytes) -> Result:
    """The result that an answer means: response headers with trailers, and the length-prefixed message."""
    status = headers.get("grpc-status", "")
    if status != "0":
        message = headers.get("grpc-message", f"status {headers.get(':status', '?')}")
        if status == str(_UNIMPLEMENTED):
            return failed(
                f"error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}"
            )
        return failed(f"error: health rpc probe failed: {message}")
    serving = _serving_status(data[5:])
    if serving is None:
        return unknown("error: health rpc probe failed: the answer is not a HealthCheckResponse")
    if serving != _SERVING:
        return failed(f'service unhealthy (responded with "{STATUSES.get(serving, serving)}")')
    return passed("service healthy")


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, service: str) -> _Answer:
    # Imported here: most Pods have no such probe, and it takes 3 MiB.
    from h2.connection import H2Connection
    from h2.exceptions import H2Error

    connection = H2Connection()
    connection.initiate_connection()
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", PATH),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", USER_AGENT),
    ]
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    connection.send_headers(1, headers)
    connection.send_data(1, b"\x00" + len(message).to_bytes(4, "big") + message, end_stream=True)
    answer = _Answer()
    try:
        while not answer.over:
            writer.write(connection.data_to_send())
            await writer.drain()
            data = await reader.read(_ANSWER_BYTES)
            if not data:
                raise EOFError("connection closed")
            _take(connection, data, answer)
    except H2Error as error:
        raise ValueError(str(error)) from error
    return answer


def _take(connection: H2Connection, data: bytes, answer: _Answer) -> None:
    from h2 import events

    for event in connection.receive_data(data):
        if isinstance(event, (events.ResponseReceived, events.TrailersReceived)):
            for name, value in event.headers or []:
                answer.headers[_text(name)] = _text(value)
        elif isinstance(event, events.DataReceived):
            answer.data += event.data or b""
            connection.acknowledge_received_data(event.flow_controlled_length or 0, 1)
        elif isinstance(event, (events.StreamEnded, events.StreamReset, events.ConnectionTerminated)):
            answer.over = True
        if len(answer.data) > _ANSWER_BYTES:
            raise ValueError("the answer is too long")


def _serving_status(message: bytes) -> int | None:
    """Field 1 of a HealthCheckResponse; 0 when the message is empty."""
    if not message:
        return 0
    return message[1] if len(message) == 2 and message[0] == 0x08 and message[1] < 0x80 else None


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
