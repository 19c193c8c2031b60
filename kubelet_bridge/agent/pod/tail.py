"""The end of a container's log, for a termination message that falls back to it."""

from __future__ import annotations

import os
from collections import deque

MESSAGE_BYTES = 4096
# The kubelet reads so much of the log (pkg/kubelet/kuberuntime: maxTerminationMessageLogLength, ...Lines).
LOG_BYTES = 2048
LOG_LINES = 80
# Each line is preceded by a time, a stream and a tag, about 40 bytes; an application's line may be one byte long.
_READ_BYTES = 64 * 1024


def log_tail(path: str) -> str:
    """At most 80 lines and 2048 bytes of what the container said last; empty when there is no log."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as fast as it gets, on a path the driver gave
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _READ_BYTES))
            data = file.read(_READ_BYTES)
    except OSError:
        return ""
    if size > _READ_BYTES:
        data = data.partition(b"\n")[2]
    lines: deque[bytes] = deque(maxlen=LOG_LINES)
    unfinished = False
    for line in data.split(b"\n"):
        fields = line.split(b" ", 3)
        if len(fields) != 4:
            continue
        text = fields[3] + (b"" if fields[2] == b"P" else b"\n")
        if unfinished:
            lines[-1] += text
        else:
            lines.append(text)
        unfinished = fields[2] == b"P"
    return b"".join(lines)[-LOG_BYTES:].decode("utf-8", "replace")


def clip(message: str) -> str:
    """At most as many bytes as a termination message may have."""
    return message.encode()[:MESSAGE_BYTES].decode("utf-8", "ignore")
