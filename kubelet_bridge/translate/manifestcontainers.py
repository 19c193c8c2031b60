"""Containers for the agent: environment resolved, variables expanded, quantities as numbers.

Source: ``generateContainerConfig`` in ``pkg/kubelet/kuberuntime`` and ``GenerateRunContainerOptions`` in
``pkg/kubelet/kubelet_pods.go``.
"""

from collections.abc import Mapping

import msgspec

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.model.core import Container, Lifecycle, Pod, SecurityContext, VolumeMount
from kubelet_bridge.model.quantity import Quantity
from kubelet_bridge.model.snapshot import Inputs, PodEvent
from kubelet_bridge.translate import environment
from kubelet_bridge.translate.expansion import expand, unresolved
from kubelet_bridge.translate.manifestprobes import hook, probe
from kubelet_bridge.translate.probes import UnknownPort
from kubelet_bridge.translate.resources import VmSize, is_sidecar

DEFAULT_TERMINATION_MESSAGE_PATH = "/dev/termination-log"

_PULL_POLICIES = {
    "Always": pb.PULL_POLICY_ALWAYS,
    "IfNotPresent": pb.PULL_POLICY_IF_NOT_PRESENT,
    "Never": pb.PULL_POLICY_NEVER,
}
_PROPAGATIONS = {
    "None": pb.MOUNT_PROPAGATION_NONE,
    "HostToContainer": pb.MOUNT_PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": pb.MOUNT_PROPAGATION_BIDIRECTIONAL,
}


class World(msgspec.Struct, frozen=True):
    """What every container of a Pod is resolved against.

    Attributes:
        addresses: fields of ``downward.KNOWN_AFTER_BOOT`` and their values.
        restarts: by container, its restart count when this boot of the VM began.
    """

    pod: Pod
    inputs: Inputs
    machine: VmSize
    addresses: Mapping[str, str]
    restarts: Mapping[str, int] = {}


class Resolved(msgspec.Struct, frozen=True):
    """One container; what keeps it from being started, in the kubelet's words; events for the Pod."""

    container: pb.Container
    missing: list[str]
    notes: list[PodEvent]


def resolve(world: World, one: Container, *, init: bool = False) -> Resolved:
    """One container of the Pod, with nothing in it that refers to another object."""
    found = environment.resolve(world.pod, one, world.inputs, world.machine, world.addresses)
    variables, missing = found.variables, list(found.missing)
    made = pb.Container(
        name=one.name,
        image=one.image,
        pull_policy=_PULL_POLICIES.get(one.image_pull_policy, pb.PULL_POLICY_IF_NOT_PRESENT),
        command=[expand(text, variables) for text in one.command],
        args=[expand(text, variables) for text in one.args],
        working_dir=one.working_dir,
        env=[pb.EnvVar(name=name, value=value) for name, value in variables.items()],
        mounts=[_mount(mount, variables, missing) for mount in one.volume_mounts],
        devices=[pb.Device(volume=device.name, path=device.device_path) for device in one.volume_devices],
        resources=_resources(one),
        security=_security(one.security_context or SecurityContext()),
        stdin=one.stdin,
        stdin_once=one.stdin_once,
        tty=one.tty,
        termination_message_path=one.termination_message_path or DEFAULT_TERMINATION_MESSAGE_PATH,
        termination_message_policy=_message_policy(one),
        sidecar=init and is_sidecar(one),
        restart_base=world.restarts.get(one.name, 0),
        target=one.target_container_name,
    )
    _attend(made, one, missing)
    return Resolved(made, missing, found.notes)


def _mount(mount: VolumeMount, variables: Mapping[str, str], missing: list[str]) -> pb.Mount:
    sub_path = mount.sub_path
    if mount.sub_path_expr:
        sub_path = expand(mount.sub_path_expr, variables)
        if absent := unresolved(mount.sub_path_expr, variables):
            missing.append(f"failed to expand subPath for mountPath {mount.mount_path}: missing {', '.join(absent)}")
    return pb.Mount(
        volume=mount.name,
        path=mount.mount_path,
        read_only=mount.read_only,
        sub_path=sub_path,
        propagation=_PROPAGATIONS.get(mount.mount_propagation, pb.MOUNT_PROPAGATION_NONE),
    )


def _resources(one: Container) -> pb.Resources:
    requests, limits = one.resources.requests, one.resources.limits
    return pb.Resources(
        cpu_request_millis=_millis(requests.get("cpu", 0)),
        cpu_limit_millis=_millis(limits.get("cpu", 0)),
        memory_request_bytes=Quantity.parse(requests.get("memory", 0)).ceil(),
        memory_limit_bytes=Quantity.parse(limits.get("memory", 0)).ceil(),
    )


def _millis(amount: str | int | float) -> int:
    return Quantity(Quantity.parse(amount).value * 1000).ceil()


def _security(context: SecurityContext) -> pb.Security:
    capabilities = context.capabilities
    return pb.Security(
        run_as_user=context.run_as_user,
        run_as_group=context.run_as_group,
        run_as_non_root=context.run_as_non_root,
        privileged=context.privileged,
        read_only_root_filesystem=bool(context.read_only_root_filesystem),
        allow_privilege_escalation=context.allow_privilege_escalation,
        add_capabilities=capabilities.add if capabilities else [],
        drop_capabilities=capabilities.drop if capabilities else [],
    )


def _message_policy(one: Container) -> pb.TerminationMessagePolicy.ValueType:
    if one.termination_message_policy == "FallbackToLogsOnError":
        return pb.TERMINATION_MESSAGE_POLICY_FALLBACK_TO_LOGS_ON_ERROR
    return pb.TERMINATION_MESSAGE_POLICY_FILE


def _attend(made: pb.Container, one: Container, missing: list[str]) -> None:
    """Put hooks, signal and probes in; a message that is not set stays absent."""
    lifecycle = one.lifecycle or Lifecycle()
    made.stop_signal = lifecycle.stop_signal
    if (after := hook(one, lifecycle.post_start)) is not None:
        made.post_start.CopyFrom(after)
    if (before := hook(one, lifecycle.pre_stop)) is not None:
        made.pre_stop.CopyFrom(before)
    try:
        if (liveness := probe(one, one.liveness_probe)) is not None:
            made.liveness.CopyFrom(liveness)
        if (readiness := probe(one, one.readiness_probe)) is not None:
            made.readiness.CopyFrom(readiness)
        if (startup := probe(one, one.startup_probe)) is not None:
            made.startup.CopyFrom(startup)
    except UnknownPort as error:
        missing.append(error.message)
