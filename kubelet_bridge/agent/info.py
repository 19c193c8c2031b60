"""What the guest is: its system, kernel, addresses, users and file systems."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

from kubelet_bridge.agent import utmp
from kubelet_bridge.agent.filesystems import filesystems
from kubelet_bridge.agent.v1 import agent_pb2 as pb


def guest_info(root: Path = Path("/")) -> pb.GuestInfo:
    """All of it, now. Blocks: call it in a thread. What cannot be learned stays empty."""
    release = os_release(root)
    kernel = os.uname()
    return pb.GuestInfo(
        hostname=kernel.nodename,
        os_id=release.get("ID", ""),
        os_version_id=release.get("VERSION_ID", ""),
        os_pretty_name=release.get("PRETTY_NAME", ""),
        kernel_release=kernel.release,
        machine=kernel.machine,
        timezone=timezone(root),
        booted_at=booted_at(root),
        addresses=addresses(root),
        users=utmp.users(root / "var/run/utmp"),
        filesystems=filesystems(str(root / "proc/self/mounts")),
        cpus=os.cpu_count() or 0,
        memory_bytes=memory_bytes(root),
        init_system=init_system(root),
    )


def os_release(root: Path = Path("/")) -> dict[str, str]:
    """os-release(5)."""
    for path in (root / "etc/os-release", root / "usr/lib/os-release"):
        text = _read(path)
        if text:
            return parse_os_release(text)
    return {}


def parse_os_release(text: str) -> dict[str, str]:
    """Its assignments, without quotes and their escapes."""
    found = {}
    for line in text.splitlines():
        name, separator, value = line.strip().partition("=")
        if not separator or name.startswith("#"):
            continue
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        for escaped in '\\$"`':
            value = value.replace("\\" + escaped, escaped)
        found[name] = value
    return found


def timezone(root: Path = Path("/")) -> str:
    """Its name in the time zone database; ``UTC`` where nothing is set."""
    try:
        target = os.readlink(str(root / "etc/localtime"))
    except OSError:
        return _read(root / "etc/timezone").strip() or "UTC"
    return target.partition("zoneinfo/")[2] or "UTC"


def booted_at(root: Path = Path("/")) -> int:
    """Nanoseconds since the epoch."""
    for line in _read(root / "proc/stat").splitlines():
        if line.startswith("btime "):
            return int(line.split()[1]) * 1_000_000_000
    return 0


def memory_bytes(root: Path = Path("/")) -> int:
    """What the kernel manages of the machine's memory."""
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def init_system(root: Path = Path("/")) -> str:
    """``systemd``, ``openrc``, or empty for another."""
    if (root / "run/systemd/system").is_dir():
        return "systemd"
    return "openrc" if (root / "run/openrc").is_dir() else ""


def addresses(root: Path = Path("/")) -> list[str]:
    """Every address of the guest but loopback's and link-local ones, IPv4 first."""
    return addresses_4(_read(root / "proc/net/fib_trie")) + addresses_6(_read(root / "proc/net/if_inet6"))


def addresses_4(trie: str) -> list[str]:
    """The local addresses in ``/proc/net/fib_trie``: a leaf, and below it ``/32 host LOCAL``."""
    found: list[str] = []
    leaf = ""
    for line in trie.splitlines():
        words = line.replace("|--", " ").replace("+--", " ").split()
        if "|--" in line and words:
            leaf = words[0]
        elif words[-1:] == ["LOCAL"] and words[0] == "/32" and leaf not in found and not leaf.startswith("127."):
            found.append(leaf)
    return found


def addresses_6(table: str) -> list[str]:
    """The global addresses in ``/proc/net/if_inet6``: address, index, prefix length, scope, flags, name."""
    found = []
    for line in table.splitlines():
        words = line.split()
        if len(words) == 6 and words[3] == "00" and words[5] != "lo":
            found.append(socket.inet_ntop(socket.AF_INET6, struct.pack("!4I", *_quarters(words[0]))))
    return found


def _quarters(digits: str) -> list[int]:
    return [int(digits[start : start + 8], 16) for start in range(0, 32, 8)]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
