"""Who is logged in: utmp(5), as glibc writes it on every architecture with 32-bit times (musl keeps no such file)."""

from __future__ import annotations

import struct
from pathlib import Path

from kubelet_bridge.agent.v1 import agent_pb2 as pb

PATH = Path("/var/run/utmp")
_USER_PROCESS = 7
# short type, int pid, line[32], id[4], user[32], host[256], exit (2 short), session, seconds, microseconds, address[4]
_ENTRY = struct.Struct("<hxxi32s4s32s256s2hiii4i20x")
MAX_USERS = 100


def users(path: Path = PATH) -> list[pb.LoggedInUser]:
    """Those logged in at a terminal; none where the file is missing or of another form."""
    try:
        data = path.read_bytes()
    except OSError:
        return []
    return parse(data)


def parse(data: bytes) -> list[pb.LoggedInUser]:
    """The same from the file's content; an incomplete entry at its end is not one."""
    found: list[pb.LoggedInUser] = []
    for start in range(0, len(data) - _ENTRY.size + 1, _ENTRY.size):
        fields = _ENTRY.unpack_from(data, start)
        if fields[0] != _USER_PROCESS or len(found) >= MAX_USERS:
            continue
        name, terminal, host = (_text(fields[i]) for i in (4, 2, 5))
        since = max(0, fields[9]) * 1_000_000_000 + max(0, fields[10]) * 1000
        found.append(pb.LoggedInUser(name=name, terminal=terminal, host=host, since=since))
    return found


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("utf-8", "replace")
