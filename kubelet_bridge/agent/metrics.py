"""Figures of this moment, of the guest and of what runs in it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Iterable

from kubelet_bridge.agent.driver import Driver, Run
from kubelet_bridge.agent.filesystems import filesystems
from kubelet_bridge.agent.threads import in_thread
from kubelet_bridge.agent.v1 import agent_pb2 as pb

_TICKS = os.sysconf("SC_CLK_TCK")
_KIB = 1024


async def sample(driver: Driver | None, runs: Iterable[Run]) -> pb.MetricsSample:
    """One sample; ``runs`` are those that go on."""
    found = pb.MetricsSample(time=time.time_ns())
    usage, disks, interfaces = await in_thread(_machine)
    found.guest.CopyFrom(usage)
    found.filesystems.extend(disks)
    found.interfaces.extend(interfaces)
    if driver is not None:
        for run in runs:
            found.containers.append(await driver.usage(run))
    return found


def guest_usage(proc: Path = Path("/proc")) -> pb.Usage:
    """The whole machine's, by the kubelet's definitions: working set is what is used less inactive file pages."""
    memory = {
        words[0].rstrip(":"): int(words[1]) * _KIB
        for words in (line.split() for line in (proc / "meminfo").read_text(encoding="ascii").splitlines())
        if len(words) >= 2
    }
    used = memory["MemTotal"] - memory["MemFree"]
    return pb.Usage(
        cpu_nanoseconds=_busy(proc),
        memory_usage_bytes=used,
        memory_working_set_bytes=max(0, used - memory.get("Inactive(file)", 0)),
        memory_rss_bytes=memory.get("AnonPages", 0),
        processes=_processes(proc),
    )


def interfaces(table: str) -> list[pb.Interface]:
    """``/proc/net/dev`` without loopback: eight columns of what came, then eight of what went."""
    found = []
    for line in table.splitlines():
        name, separator, rest = line.partition(":")
        figures = rest.split()
        if not separator or len(figures) < 11 or name.strip() == "lo":
            continue
        received, errors_in, sent, errors_out = (int(figures[column]) for column in (0, 2, 8, 10))
        found.append(
            pb.Interface(name=name.strip(), rx_bytes=received, rx_errors=errors_in, tx_bytes=sent, tx_errors=errors_out)
        )
    return found


def _machine() -> tuple[pb.Usage, list[pb.Filesystem], list[pb.Interface]]:
    table = Path("/proc/net/dev").read_text(encoding="ascii", errors="replace")
    return guest_usage(), filesystems(), interfaces(table)


def _busy(proc: Path) -> int:
    """user, nice, system, irq, softirq and steal: all but idle and waiting (guest time is in user already)."""
    fields = [int(field) for field in (proc / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    idle = sum(fields[3:5])
    return (sum(fields) - idle) * 1_000_000_000 // _TICKS


def _processes(proc: Path) -> int:
    """The fourth field of loadavg is runnable/existing; threads count, as they do in pids.current."""
    return int((proc / "loadavg").read_text(encoding="ascii").split()[3].partition("/")[2])
