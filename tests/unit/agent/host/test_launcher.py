"""What systemd is told; there is none here to tell it to."""

import sys

from kubelet_bridge.agent.host import launcher
from kubelet_bridge.agent.host.cgroups import limits_v1, limits_v2, weight
from kubelet_bridge.agent.v1 import agent_pb2 as pb

LIMITED = pb.Resources(
    cpu_request_millis=250, cpu_limit_millis=1500, memory_request_bytes=64 << 20, memory_limit_bytes=128 << 20
)


def test_a_unit_with_limits() -> None:
    shim = ["/usr/bin/python3", "-I", "-S", "/var/lib/kubelet-bridge/agent/current.pyz", "shim", "/run/x", "/run/y"]
    assert launcher.systemd_argv(shim, "abc", LIMITED, 30.0, version=252) == [
        "systemd-run",
        "--quiet",
        "--collect",
        "--unit=kubelet-bridge-abc.service",
        "--property=Delegate=yes",
        "--property=KillMode=mixed",
        "--property=TimeoutStopSec=40",
        "--property=TasksMax=32768",
        "--property=Before=kubelet-bridge-workload.service",
        "--property=UMask=0077",
        "--property=MemoryAccounting=yes",
        "--property=CPUAccounting=yes",
        "--property=OOMPolicy=continue",
        "--property=MemoryMax=134217728",
        "--property=MemorySwapMax=0",
        "--property=CPUQuota=150%",
        "--property=CPUWeight=10",
        "--",
        *shim,
    ]


def test_an_old_systemd_is_not_told_what_it_does_not_know() -> None:
    argv = launcher.systemd_argv(["shim"], "abc", pb.Resources(), 0.0, version=239)
    names = [one.split("=")[1] for one in argv if one.startswith("--property=")]
    assert not {"OOMPolicy", "MemoryMax", "MemorySwapMax", "CPUQuota", "CPUWeight"} & set(names)


def test_a_source_tree_runs_its_own_shim() -> None:
    assert launcher.shim_command() == [sys.executable, "-m", "kubelet_bridge.agent.host.shim.main"]


def test_limits_of_both_versions() -> None:
    assert limits_v2(LIMITED) == {
        "pids.max": "32768",
        "memory.max": "134217728",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "cpu.max": "150000 100000",
        "cpu.weight": "10",
    }
    assert limits_v1(LIMITED)["cpu"] == {
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "150000",
        "cpu.shares": "256",
    }
    assert limits_v2(pb.Resources()) == {"pids.max": "32768"}


def test_weights_as_a_kubelet_converts_them() -> None:
    assert [weight(millis) for millis in (0, 1, 1000, 10_000_000)] == [1, 1, 39, 10000]
