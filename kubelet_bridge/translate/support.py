"""What cannot be a virtual machine, and why: one table, which decides, explains and is documented (``supportpage``).

A Pod with one of these fields is rejected with the field's path: it would run as something it was not written for.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.core import Container, Pod
from kubelet_bridge.model.intent import Hosting
from kubelet_bridge.model.quantity import InvalidQuantity, Quantity
from kubelet_bridge.translate import annotations, disksettings, userdata
from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.environment import is_object_name
from kubelet_bridge.translate.image import hosting, is_os_image
from kubelet_bridge.translate.machines import ONE_VM, VM_PER_CONTAINER
from kubelet_bridge.translate.probes import UnknownPort, port_number, probed
from kubelet_bridge.translate.resources import amounts_with_paths
from kubelet_bridge.translate.sshkeys import key_secrets
from kubelet_bridge.translate.table import MACHINE, ON_AN_OS, Row, containers, flag, per_container, per_volume
from kubelet_bridge.translate.volumes import source_of

_AGENT = "the in-guest agent, which this node does not have"
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
_VOLUMES = frozenset({"emptyDir", "persistentVolumeClaim", "configMap", "secret", "downwardAPI", "projected"})
_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage"})
_LARGEST = {"cpu": 4096, "memory": 2**50}  # more than QEMU can emulate, and room to multiply by the hot-plug ratio
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")

# What container runtimes give by themselves; a process in a guest has these without being given them.
_HARMLESS_CAPABILITIES = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
})  # fmt: skip


class Refusal(msgspec.Struct, frozen=True):
    """A field that stands in the way, by its exact path, and why."""

    field: str
    reason: str


class CannotTranslate(Terminal):
    """The Pod can never be a virtual machine as it is written."""

    def __init__(self, refused: Iterable[Refusal]) -> None:
        self.refusals = list(refused)
        reasons = "; ".join(f"{one.field}: {one.reason}" for one in self.refusals)
        super().__init__(f"cannot be a virtual machine: {reasons}", reason="UnsupportedPodSpec")


def refusals(pod: Pod, config: BridgeConfig) -> list[Refusal]:
    """Everything that keeps ``pod`` from being a virtual machine; empty when nothing does."""
    kind = hosting(pod, config)
    return [Refusal(path, rule.text) for rule in RULES if kind in rule.of for path in rule.found(pod)]


def _ports(container: Container) -> list[str]:
    wrong = enumerate(container.ports)
    return [f"ports[{index}].containerPort" for index, port in wrong if not 0 < port.container_port < 65536]


def _protocols(container: Container) -> list[str]:
    wrong = enumerate(container.ports)
    return [f"ports[{index}].protocol" for index, port in wrong if port.protocol not in ("", "TCP", "UDP")]


def _host_ports(pod: Pod) -> Iterator[str]:
    """With ``hostNetwork`` the API server fills every ``hostPort`` in by itself; that one is refused already."""
    if pod.spec.host_network:
        return
    for path, container in containers(pod):
        for index, port in enumerate(container.ports):
            if port.host_port:
                yield f"{path}.ports[{index}].hostPort"


def _capabilities(container: Container) -> list[str]:
    context = container.security_context
    added = context.capabilities.add if context and context.capabilities else []
    wrong = enumerate(added)
    return [
        f"securityContext.capabilities.add[{index}]"
        for index, one in wrong
        if one.removeprefix("CAP_") not in _HARMLESS_CAPABILITIES
    ]


def _windows(pod: Pod) -> Iterator[str]:
    if pod.spec.os and pod.spec.os.name not in ("", "linux"):
        yield "spec.os.name"
    if pod.spec.security_context and pod.spec.security_context.windows_options:
        yield "spec.securityContext.windowsOptions"


def _sysctls(pod: Pod) -> list[str]:
    context = pod.spec.security_context
    return [f"spec.securityContext.sysctls[{index}]" for index in range(len(context.sysctls) if context else 0)]


def _unknown_ports(container: Container) -> list[str]:
    wrong = []
    for field, probe in probed(container):
        for name, action in (("httpGet", probe.http_get), ("tcpSocket", probe.tcp_socket), ("grpc", probe.grpc)):
            try:
                port_number(container, action.port if action else 1)
            except UnknownPort:
                wrong.append(f"{field}.{name}.port")
    return wrong


def _file_keys(container: Container) -> list[str]:
    variables = enumerate(container.env)
    return [
        f"env[{index}].valueFrom.fileKeyRef"
        for index, one in variables
        if one.value_from and one.value_from.file_key_ref
    ]


def _devices(pod: Pod) -> Iterator[str]:
    yield from (path for path, resource, _ in amounts_with_paths(pod) if resource not in _RESOURCES)
    for path, container in containers(pod):
        yield from (f"{path}.resources.claims[{index}]" for index in range(len(container.resources.claims)))


def _amounts(pod: Pod) -> Iterator[str]:
    yield from (path for path, _, amount in amounts_with_paths(pod) if not _is_amount(amount))


def _enormous(pod: Pod) -> Iterator[str]:
    for path, resource, amount in amounts_with_paths(pod):
        if resource in _LARGEST and _is_amount(amount) and Quantity.parse(amount).ceil() > _LARGEST[resource]:
            yield path


def _size_limit(volume: dict[str, Any]) -> str:
    size = (volume.get("emptyDir") or {}).get("sizeLimit")
    return "" if size is None or _is_amount(size) else "emptyDir.sizeLimit"


def _is_amount(amount: Any) -> bool:
    try:
        return Quantity.parse(amount).value >= 0
    except InvalidQuantity:
        return False


def _annotated(name: str) -> str:
    return f"metadata.annotations[{name}]"


def _names_an_object(reference: userdata.Reference | None) -> bool:
    return reference is not None and is_object_name(reference.name)


def _annotation(pod: Pod, name: str) -> str:
    return pod.metadata.annotations.get(name, "")


RULES: tuple[Row, ...] = (
    flag(
        "spec.containers",
        "there is no container for a virtual machine to stand for",
        lambda pod: not pod.spec.containers,
    ),
    Row(
        "spec.containers[1]",
        f"more than one container needs {_AGENT}",
        lambda pod: [f"spec.containers[{index}]" for index in range(1, len(pod.spec.containers))],
        of=MACHINE,
    ),
    Row(
        "spec.initContainers[*]",
        f"init containers need {_AGENT}",
        lambda pod: [f"spec.initContainers[{index}]" for index in range(len(pod.spec.init_containers))],
        of=MACHINE,
    ),
    Row(
        "spec.containers[*].image (an OS image)",
        "is an OS image, and the Pod's first container is an application: these cannot share one virtual machine",
        lambda pod: [f"{path}.image" for path, one in containers(pod) if is_os_image(one.image)],
        of=frozenset({Hosting.OCI}),
    ),
    Row(
        "spec.initContainers[*].command",
        "an init container without a command has nothing to run on an OS image",
        lambda pod: [
            f"spec.initContainers[{index}].command"
            for index, one in enumerate(pod.spec.init_containers)
            if not (one.command or one.args)
        ],
        of=frozenset({Hosting.SYSTEM}),
    ),
    flag(
        "spec.hostNetwork",
        "not available in a virtual machine: it has a network of its own and cannot use the node's",
        lambda pod: pod.spec.host_network,
    ),
    flag(
        "spec.hostPID",
        "not available in a virtual machine: its processes cannot see the node's",
        lambda pod: pod.spec.host_pid,
    ),
    flag(
        "spec.hostIPC",
        "not available in a virtual machine: it shares no memory with the node",
        lambda pod: pod.spec.host_ipc,
    ),
    Row(
        "spec.containers[*].ports[*].hostPort",
        "not available in a virtual machine: no port of a node leads to it; use a Service",
        _host_ports,
    ),
    per_volume(
        "hostPath",
        "not available in a virtual machine: it cannot see the node's files",
        lambda volume: "hostPath" if source_of(volume) == "hostPath" else "",
    ),
    per_volume(
        "(any other source)",
        "volumes of this kind cannot be attached to a virtual machine by this version; use a persistentVolumeClaim",
        lambda volume: source_of(volume) if source_of(volume) not in _VOLUMES | {"hostPath"} else "",
    ),
    per_volume("emptyDir.sizeLimit", "is not a quantity such as 500Mi or 2Gi", _size_limit),
    per_container(
        "securityContext.privileged",
        "not available in a virtual machine: its guest has no power over the node",
        lambda container: container.security_context and container.security_context.privileged,
        of=ON_AN_OS,
    ),
    per_container(
        "securityContext.capabilities.add[*]",
        "not available in a virtual machine: a capability over the kernel of the node, which the guest does not share",
        _capabilities,
        of=ON_AN_OS,
    ),
    per_container(
        "securityContext.procMount",
        "not available in a virtual machine: its /proc is not the node's",
        lambda container: container.security_context and container.security_context.proc_mount not in (None, "Default"),
    ),
    per_container(
        "securityContext.windowsOptions",
        "this version makes Linux guests only",
        lambda container: container.security_context and container.security_context.windows_options,
    ),
    Row("spec.os.name", "this version makes Linux guests only", _windows),
    Row(
        "spec.securityContext.sysctls[*]",
        "kernel parameters are not carried into an OS image by this version; set them in the image",
        _sysctls,
        of=ON_AN_OS,
    ),
    Row(
        "spec.resourceClaims[*]",
        "devices are not handed to virtual machines by this version",
        lambda pod: [f"spec.resourceClaims[{index}]" for index in range(len(pod.spec.resource_claims))],
    ),
    Row(
        "spec.containers[*].resources (beside cpu, memory and ephemeral-storage)",
        "devices and huge pages are not handed to virtual machines by this version",
        _devices,
    ),
    Row("spec.containers[*].resources.limits[*]", "is not a quantity such as 500m or 2Gi", _amounts),
    Row(
        "spec.containers[*].resources.limits[cpu], [memory]",
        f"no virtual machine is so large: at most {_LARGEST['cpu']} CPUs and 1 PiB of memory",
        _enormous,
    ),
    per_container("ports[*].containerPort", "is not a port number between 1 and 65535", _ports),
    per_container("ports[*].protocol", "only TCP and UDP reach a virtual machine on the Pod network", _protocols),
    per_container(
        "*Probe.*.port",
        "is neither a port number nor a port that the container declares",
        _unknown_ports,
    ),
    per_container(
        "env[*].valueFrom.fileKeyRef",
        "the file is in the guest, and this version makes no variables of what is there",
        _file_keys,
    ),
    flag(
        _annotated(MIRROR_ANNOTATION),
        "this node has no static Pods of which this could be the mirror",
        lambda pod: _annotation(pod, MIRROR_ANNOTATION),
    ),
    flag(
        _annotated(annotations.CLOUD_INIT),
        "does not name a Secret or ConfigMap with cloud-init documents: secret/NAME, configmap/NAME, either with /KEY",
        lambda pod: userdata.is_wanted(pod) and not _names_an_object(userdata.reference(pod)),
    ),
    flag(
        _annotated(annotations.CONTAINERS),
        f"is neither {ONE_VM}, one virtual machine for all containers, nor {VM_PER_CONTAINER}",
        lambda pod: _annotation(pod, annotations.CONTAINERS) not in ("", ONE_VM, VM_PER_CONTAINER),
    ),
    Row(
        f"metadata.annotations[{disksettings.ANNOTATION}*]",
        "names no volume of the Pod, or is not its bus (virtio, scsi, sata, usb), cdrom (true, false) or boot-order (a"
        " number from 1 that no other volume has)",
        disksettings.faults,
    ),
    flag(
        _annotated(annotations.USER),
        "is not a user name: lower-case letters, digits, - and _, at most 32, not beginning with a digit",
        lambda pod: not _USER.fullmatch(pod.metadata.annotations.get(annotations.USER, "root")),
    ),
    flag(
        _annotated(annotations.SSH_KEYS),
        "is not a list of names of Secrets, separated by commas",
        lambda pod: not all(map(is_object_name, key_secrets(pod))),
    ),
)  # fmt: skip
