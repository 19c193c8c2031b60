"""The types of k8s.io/kubelet/pkg/apis/stats/v1alpha1 (v0.36), the fields that are filled in.

Times are ``metav1.Time``: whole seconds, as text. What is None is left out, as Go leaves out nil pointers.
"""

import msgspec


class _Part(msgspec.Struct, rename="camel", omit_defaults=True):
    """Base: camelCase, what is not known left out."""


class CpuStats(_Part):
    """``CPUStats``."""

    time: str
    usage_nano_cores: int | None = None
    usage_core_nano_seconds: int | None = None


class MemoryStats(_Part):
    """``MemoryStats``; available is the limit less the working set."""

    time: str
    available_bytes: int | None = None
    usage_bytes: int | None = None
    working_set_bytes: int | None = None
    rss_bytes: int | None = None


class Interface(_Part):
    """``InterfaceStats``."""

    name: str
    rx_bytes: int | None = None
    rx_errors: int | None = None
    tx_bytes: int | None = None
    tx_errors: int | None = None


class NetworkStats(_Part):
    """``NetworkStats``: the default interface, in line, and all of them."""

    time: str
    name: str
    rx_bytes: int | None = None
    rx_errors: int | None = None
    tx_bytes: int | None = None
    tx_errors: int | None = None
    interfaces: list[Interface] = []


class FsStats(_Part):
    """``FsStats``."""

    time: str
    available_bytes: int | None = None
    capacity_bytes: int | None = None
    used_bytes: int | None = None
    inodes_free: int | None = None
    inodes: int | None = None
    inodes_used: int | None = None


class ClaimReference(_Part):
    """``PVCReference``."""

    name: str
    namespace: str


class VolumeStats(FsStats, kw_only=True):
    """``VolumeStats``: ``FsStats`` in line."""

    name: str
    pvc_ref: ClaimReference | None = None


class ProcessStats(msgspec.Struct):
    """``ProcessStats``."""

    process_count: int


class ContainerStats(_Part):
    """``ContainerStats``."""

    name: str
    start_time: str | None
    cpu: CpuStats | None = None
    memory: MemoryStats | None = None
    rootfs: FsStats | None = None
    logs: FsStats | None = None


class PodReference(_Part):
    """``PodReference``."""

    name: str
    namespace: str
    uid: str


class PodStats(_Part):
    """``PodStats``."""

    pod_ref: PodReference
    start_time: str | None
    containers: list[ContainerStats]
    cpu: CpuStats | None = None
    memory: MemoryStats | None = None
    network: NetworkStats | None = None
    volume: list[VolumeStats] = []
    process_stats: ProcessStats | None = msgspec.field(name="process_stats", default=None)


class NodeStats(_Part):
    """``NodeStats``."""

    node_name: str
    start_time: str | None
    system_containers: list[ContainerStats] = []
    cpu: CpuStats | None = None
    memory: MemoryStats | None = None
    network: NetworkStats | None = None
    fs: FsStats | None = None
