"""Lines of the CRI log format (Kubernetes ``pkg/kubelet/kuberuntime/logs``): ``<RFC 3339 time> <stream> <F|P> <data>``.

Written by podman's conmon (driver ``k8s-file``) and by the host driver. Pure.
"""

from __future__ import annotations

import calendar
from typing import NamedTuple

from kubelet_bridge.agent.v1 import agent_pb2 as pb

PIECE = 16 * 1024
"""Bytes of data in one record; a longer line becomes several."""

_STREAMS = {b"stdout": pb.LOG_STREAM_STDOUT, b"stderr": pb.LOG_STREAM_STDERR}


class Line(NamedTuple):
    """One line of a log: what the container wrote, without its line end. ``partial``: it goes on in the next line."""

    time: int
    stream: pb.LogStream.ValueType
    partial: bool
    data: bytes


def parse(line: bytes, last: Line | None = None) -> Line:
    """A line without its line end.

    One that is not in the format (a machine that died while it was written, a stranger's file) is taken as it is, at
    the time and on the stream of the ``last``.
    """
    parts = line.split(b" ", 3)
    stream = _STREAMS.get(parts[1]) if len(parts) >= 3 else None
    if stream is not None and (parts[2][:1] in b"FP"):
        try:
            time = nanoseconds(parts[0])
        except ValueError:
            pass
        else:
            return Line(time, stream, parts[2][:1] == b"P", parts[3] if len(parts) == 4 else b"")
    if last is None:
        return Line(0, pb.LOG_STREAM_STDOUT, False, line)
    return Line(last.time, last.stream, False, line)


def nanoseconds(stamp: bytes) -> int:
    """``2016-10-06T00:17:09.669794202Z``, or with an offset such as ``+01:00``, since the epoch.

    Raises:
        ValueError: it is not a time.
    """
    text = stamp.decode("ascii")
    if len(text) < 20 or text[4] != "-" or text[7] != "-" or text[10] != "T" or text[13] != ":" or text[16] != ":":
        raise ValueError(text)
    fields = (text[0:4], text[5:7], text[8:10], text[11:13], text[14:16], text[17:19])
    seconds = calendar.timegm(tuple(int(field) for field in fields))
    fraction, offset = _split_zone(text[19:])
    digits = fraction[1:] if fraction[:1] == "." else fraction
    nanos = int(digits[:9].ljust(9, "0")) if digits else 0
    return (seconds - offset) * 1_000_000_000 + nanos


def pieces(line: Line) -> list[Line]:
    """The line in pieces of at most ``PIECE`` bytes; every one but the last is partial."""
    if len(line.data) <= PIECE:
        return [line]
    cut = [line.data[at : at + PIECE] for at in range(0, len(line.data), PIECE)]
    return [line._replace(data=data, partial=True) for data in cut[:-1]] + [line._replace(data=cut[-1])]


def records_in(line: bytes) -> int:
    """How many records ``pieces`` makes of this raw line."""
    if len(line) <= PIECE:
        return 1
    return len(pieces(parse(line)))


def _split_zone(rest: str) -> tuple[str, int]:
    """The fraction of a second, and the zone's offset in seconds."""
    if rest[-1:] == "Z":
        return rest[:-1], 0
    sign = rest[-6:-5]
    if sign not in {"+", "-"} or rest[-3:-2] != ":":
        raise ValueError(rest)
    offset = int(rest[-5:-3]) * 3600 + int(rest[-2:]) * 60
    return rest[:-6], offset if sign == "+" else -offset
