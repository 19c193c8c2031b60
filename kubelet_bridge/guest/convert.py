"""What guests say, as values of ``model``: clipped, so that none of it is larger than a Pod's status can carry."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.model.guest import (
    GuestContainer,
    GuestFacts,
    GuestFilesystem,
    GuestReport,
    GuestTermination,
)
from kubelet_bridge.model.snapshot import EventType, PodEvent
from kubelet_bridge.model.usage import ContainerSample, FilesystemSample, InterfaceSample, Sample, Source, Usage

MAX_CONTAINERS = 64
MESSAGE_LENGTH = 4096
"""Of a termination message, as a kubelet cuts it (``kuberuntime``'s ``MaxContainerTerminationMessageLength``)."""
EVENT_LENGTH = 1024
_UNKNOWN_EVENT_LENGTH = 256
_SHORT = 256
_REASON_LENGTH = 128
_MAX_ITEMS = 64
_LOOKED_AT = 4 * MAX_CONTAINERS
"""Of a list that a guest sent: a million containers must not take longer than a few."""
_MOST = 2**60
_LATEST = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp()) * 10**9
_REASON = re.compile(r"[A-Z][A-Za-z0-9]{0,127}")
_CONTAINER = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

# What a kubelet and its container runtime record on Pods (pkg/kubelet/events/event.go).
KNOWN_EVENTS = frozenset({
    "BackOff", "Created", "Failed", "FailedMount", "FailedPostStartHook", "FailedPreStopHook", "InspectFailed",
    "Killing", "NetworkNotReady", "OOMKilled", "Preempting", "ProbeWarning", "Pulled", "Pulling", "Started",
    "SystemOOM", "Unhealthy", "ErrImageNeverPull", "FailedCreatePodContainer", "ExceededGracePeriod",
})  # fmt: skip


def clip(text: str, length: int = _SHORT) -> str:
    """``text`` without control characters, cut to ``length``."""
    return _CONTROL.sub("", text[:length])


def is_container_name(name: str) -> bool:
    """Whether a container can have this name; it becomes a directory's."""
    return _CONTAINER.fullmatch(name) is not None


def moment(nanoseconds: int) -> datetime | None:
    """A time of the protocol; None for 0."""
    if nanoseconds <= 0:
        return None
    return datetime.fromtimestamp(min(nanoseconds, _LATEST) // 1000 / 1_000_000, UTC)


def report(message: pb.PodReport) -> GuestReport:
    """A report, at most ``MAX_CONTAINERS`` of each kind; containers that cannot exist are left out."""
    return GuestReport(
        number=_bounded(message.number),
        boot=clip(message.boot),
        manifest_revision=clip(message.manifest_revision),
        containers=_containers(message.containers),
        init_containers=_containers(message.init_containers),
        ephemeral_containers=_containers(message.ephemeral_containers),
        finished=message.finished,
        reason=reason(message.reason),
        message=clip(message.message, EVENT_LENGTH),
    )


def reason(text: str) -> str:
    """UpperCamelCase as Kubernetes wants it, or nothing."""
    return text if _REASON.fullmatch(text) else ""


def _bounded(number: int) -> int:
    """SQLite's integers have 63 bits."""
    return min(number, 2**63 - 1)


def _containers(messages: Iterable[pb.ContainerReport]) -> list[GuestContainer]:
    found: dict[str, GuestContainer] = {}
    for message in islice(messages, _LOOKED_AT):
        if len(found) >= MAX_CONTAINERS:
            break
        if is_container_name(message.name):
            found[message.name] = _container(message)
    return list(found.values())


def _container(message: pb.ContainerReport) -> GuestContainer:
    state = message.WhichOneof("state")
    running = moment(message.running.started_at) if state == "running" else None
    if state == "running" and running is None:
        running = datetime.now(UTC)
    return GuestContainer(
        name=message.name,
        waiting_reason=reason(message.waiting.reason),
        waiting_message=clip(message.waiting.message, EVENT_LENGTH),
        started_at=running,
        termination=_termination(message.terminated) if state == "terminated" else None,
        last_termination=_termination(message.last_terminated) if message.HasField("last_terminated") else None,
        restart_count=min(message.restart_count, 2**31 - 1),
        ready=message.ready,
        started=message.started,
        image=clip(message.image, 512),
        image_id=clip(message.image_id, 512),
        container_id=clip(message.container_id),
    )


def _termination(message: pb.Terminated) -> GuestTermination:
    return GuestTermination(
        exit_code=message.exit_code,
        reason=reason(message.reason) or "Error",
        signal=message.signal,
        message=clip(message.message, MESSAGE_LENGTH),
        started_at=moment(message.started_at),
        finished_at=moment(message.finished_at),
        container_id=clip(message.container_id),
    )


def facts(hello: pb.Hello) -> GuestFacts:
    """Who the agent is and what it runs on."""
    agent = GuestFacts(
        agent_version=clip(hello.agent_version, 64), agent_digest=clip(hello.agent_digest, 64),
        boot_id=clip(hello.boot_id, 64),
    )  # fmt: skip
    return with_info(agent, hello.info)


def with_info(before: GuestFacts, info: pb.GuestInfo) -> GuestFacts:
    """``before`` with what changes while the guest runs."""
    return GuestFacts(
        agent_version=before.agent_version, agent_digest=before.agent_digest, boot_id=before.boot_id,
        hostname=clip(info.hostname), os_id=clip(info.os_id, 64), os_version_id=clip(info.os_version_id, 64),
        os_pretty_name=clip(info.os_pretty_name), kernel_release=clip(info.kernel_release),
        machine=clip(info.machine, 64), timezone=clip(info.timezone, 64), init_system=clip(info.init_system, 32),
        addresses=[clip(one, 64) for one in info.addresses[:_MAX_ITEMS]],
        users=sorted({clip(one.name, 64) for one in info.users[:_MAX_ITEMS]}),
        filesystems=[_filesystem(one) for one in info.filesystems[:_MAX_ITEMS]],
        cpus=info.cpus, memory=_bounded(info.memory_bytes),
    )  # fmt: skip


def _filesystem(message: pb.Filesystem) -> GuestFilesystem:
    return GuestFilesystem(
        device=clip(message.device), mount_point=clip(message.mount_point), type=clip(message.type, 32),
        total=_bounded(message.total_bytes), used=_bounded(message.used_bytes),
    )  # fmt: skip


def event(message: pb.GuestEvent) -> PodEvent | None:
    """An event to record on the Pod; None for one that no kubelet would record."""
    if not reason(message.reason):
        return None
    path = ""
    if message.container:
        if not is_container_name(message.container):
            return None
        path = f"spec.{'initContainers' if message.init else 'containers'}{{{message.container}}}"
    length = EVENT_LENGTH if message.reason in KNOWN_EVENTS else _UNKNOWN_EVENT_LENGTH
    kind = EventType.WARNING if message.warning else EventType.NORMAL
    return PodEvent(kind, message.reason, clip(message.message, length), path)


def sample(message: pb.MetricsSample, *, at: int, instance: str, boot_id: str) -> Sample:
    """Figures that came at ``at`` (nanoseconds since the epoch) from a guest in its boot ``instance``."""
    containers = {
        one.name: _container_sample(one) for one in message.containers[:MAX_CONTAINERS] if is_container_name(one.name)
    }
    return Sample(
        at=at, taken_at=_time(message.time), source=Source.AGENT, instance=instance, epoch=boot_id,
        machine=_usage(message.guest), containers=tuple(containers.values()),
        filesystems=tuple(_filesystem_sample(one) for one in message.filesystems[:_MAX_ITEMS]),
        interfaces=tuple({one.name: one for one in map(_interface, message.interfaces[:_MAX_ITEMS])}.values()),
    )  # fmt: skip


def _figure(number: int) -> int:
    """A guest may say anything, and sums of figures have to fit into the 64 bits that readers have."""
    return min(number, _MOST)


def _time(nanoseconds: int) -> int:
    return min(nanoseconds, _LATEST)


def _usage(message: pb.Usage) -> Usage:
    """Memory that is 0 is not known; so is everything when nothing is above 0: the agent found no processes."""
    if not (message.cpu_nanoseconds or message.memory_usage_bytes or message.processes):
        return Usage()
    return Usage(
        cpu=_figure(message.cpu_nanoseconds), memory=_figure(message.memory_usage_bytes) or None,
        working_set=_figure(message.memory_working_set_bytes) or None, rss=_figure(message.memory_rss_bytes) or None,
        processes=_figure(message.processes) or None,
    )  # fmt: skip


def _container_sample(message: pb.ContainerUsage) -> ContainerSample:
    return ContainerSample(
        name=message.name, started_at=_time(message.started_at), usage=_usage(message.usage),
        rootfs=_figure(message.filesystem_used_bytes) or None, logs=_figure(message.log_bytes) or None,
    )  # fmt: skip


def _filesystem_sample(message: pb.Filesystem) -> FilesystemSample:
    return FilesystemSample(
        device=clip(message.device), mount_point=clip(message.mount_point), total=_figure(message.total_bytes),
        used=_figure(message.used_bytes), inodes=_figure(message.inodes), inodes_used=_figure(message.inodes_used),
    )  # fmt: skip


def _interface(message: pb.Interface) -> InterfaceSample:
    return InterfaceSample(
        name=clip(message.name, 64), rx_bytes=_figure(message.rx_bytes), tx_bytes=_figure(message.tx_bytes),
        rx_errors=_figure(message.rx_errors), tx_errors=_figure(message.tx_errors),
    )  # fmt: skip
