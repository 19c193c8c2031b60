"""The whole state as the bridge is told it. Pure."""

from __future__ import annotations

from typing import Mapping, NamedTuple

from kubelet_bridge.agent.pod import backoff
from kubelet_bridge.agent.pod.policy import INIT, Member, members
from kubelet_bridge.agent.pod.record import End, Memory, Record
from kubelet_bridge.agent.telling import clip
from kubelet_bridge.agent.v1 import agent_pb2 as pb


class Standing(NamedTuple):
    """What is known beside the records.

    Attributes:
        waiting: by container, reason and message of a start that has not succeeded.
        held: by container, the crash-loop back-off in seconds.
        trouble: reason and message of what keeps the whole Pod from running.
    """

    waiting: Mapping[str, tuple[str, str]]
    held: Mapping[str, float]
    finished: bool = False
    trouble: tuple[str, str] = ("", "")


def report(manifest: pb.PodManifest, memory: Memory, standing: Standing) -> pb.PodReport:
    """The report, without its number."""
    told = {
        member.container.name: _container(manifest, member, memory.of(member.container.name), standing)
        for member in members(manifest)
    }
    return pb.PodReport(
        manifest_revision=manifest.revision,
        boot=manifest.boot,
        init_containers=[told[container.name] for container in manifest.init_containers],
        containers=[told[container.name] for container in manifest.containers],
        ephemeral_containers=[told[container.name] for container in manifest.ephemeral_containers],
        finished=standing.finished,
        reason=standing.trouble[0],
        message=clip(standing.trouble[1]),
    )


def crash_loop(manifest: pb.PodManifest, name: str, seconds: float) -> str:
    """The kubelet's message for a container in crash-loop back-off."""
    pod = f"{manifest.pod_name}_{manifest.pod_namespace}({manifest.pod_uid})"
    return f"back-off {backoff.in_words(seconds)} restarting failed container={name} pod={pod}"


def _container(manifest: pb.PodManifest, member: Member, record: Record, standing: Standing) -> pb.ContainerReport:
    name = member.container.name
    said = pb.ContainerReport(
        name=name,
        restart_count=record.attempt if record.known else member.container.restart_base,
        image=record.image or member.container.image,
        image_id=record.image_id,
        container_id=record.run,
    )
    last: End | None = record.last
    if name in standing.held:
        said.waiting.CopyFrom(
            pb.Waiting(reason="CrashLoopBackOff", message=crash_loop(manifest, name, standing.held[name]))
        )
        last = record.end or record.last
    elif name in standing.waiting and not record.running:
        reason, message = standing.waiting[name]
        said.waiting.CopyFrom(pb.Waiting(reason=reason, message=clip(message)))
        last = record.end or record.last
    elif record.end is not None:
        said.terminated.CopyFrom(terminated(record.end))
        said.ready = not runs_on(member) and record.end.exit_code == 0
    elif record.known:
        said.running.CopyFrom(pb.Running(started_at=record.started_at))
        said.started = record.started
        said.ready = record.started and record.ready and runs_on(member)
    else:
        said.waiting.CopyFrom(pb.Waiting(reason="PodInitializing" if manifest.init_containers else "ContainerCreating"))
    if last is not None:
        said.last_terminated.CopyFrom(terminated(last))
    return said


def runs_on(member: Member) -> bool:
    """Whether a container is meant to run on, so that ``ready`` is about its running and not about its success."""
    return member.part != INIT


def terminated(end: End) -> pb.Terminated:
    """An end in the protocol's words."""
    return pb.Terminated(
        exit_code=end.exit_code,
        signal=end.signal,
        reason=end.reason,
        message=end.message,
        started_at=end.started_at,
        finished_at=end.finished_at,
        container_id=end.container_id,
    )
