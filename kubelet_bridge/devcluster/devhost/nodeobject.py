"""The host's Node and Lease as values: what a kubelet registers, and the labels that virt-handler puts on it.

Labels: pkg/virt-handler/node-labeller and heartbeat in KubeVirt; launchers select on them.
"""

from datetime import datetime
from typing import Any

import msgspec

from kubelet_bridge.devcluster.devhost.vmistatus import timestamp

HEARTBEAT_ANNOTATION = "kubevirt.io/heartbeat"
LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS = 40

_CPU_MODELS = ("Skylake-Server", "Haswell", "Nehalem", "qemu64")
_DEVICES = ("kvm", "tun", "vhost-net")


class Capacity(msgspec.Struct, frozen=True):
    """What the scheduler may fill. Guests of mode ``none`` cost nothing, so it need not be what the machine has."""

    cpu: str = "256"
    memory: str = "2Ti"
    pods: int = 2500


class NodeFacts(msgspec.Struct, frozen=True):
    """What the Node object says of the host."""

    name: str
    address: str
    kubelet_port: int
    metrics_port: int
    kubelet_version: str
    system_uuid: str
    capacity: Capacity


def labels(name: str) -> dict[str, str]:
    """Labels of a kubelet and of virt-handler."""
    true = "true"
    return {
        "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64",
        "kubevirt.io/schedulable": true, "cpumanager": "false", "kubevirt.io/cpumanager": "false",
        "machine-type.node.kubevirt.io/q35": true, "machine-type.node.kubevirt.io/pc-q35-rhel9.6.0": true,
        "cpu-vendor.node.kubevirt.io/Intel": true, f"host-model-cpu.node.kubevirt.io/{_CPU_MODELS[0]}": true,
        **{f"cpu-model.node.kubevirt.io/{model}": true for model in _CPU_MODELS},
        **{f"cpu-model-migration.node.kubevirt.io/{model}": true for model in _CPU_MODELS},
    }  # fmt: skip


def node(facts: NodeFacts, now: datetime) -> dict[str, Any]:
    """The whole Node, as it is created."""
    return {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": facts.name, "labels": labels(facts.name), "annotations": {HEARTBEAT_ANNOTATION: timestamp(now)},
        },
        "status": status(facts, now),
    }  # fmt: skip


def status(facts: NodeFacts, now: datetime) -> dict[str, Any]:
    """The Node's status. No Hostname address: the API server would try to resolve it."""
    resources = _resources(facts.capacity)
    return {
        "capacity": resources, "allocatable": resources,
        "addresses": [{"type": "InternalIP", "address": facts.address}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": facts.kubelet_port}},
        "conditions": _conditions(now),
        "nodeInfo": {
            "machineID": facts.system_uuid, "systemUUID": facts.system_uuid, "bootID": facts.system_uuid,
            "kernelVersion": "6.1.0-scripted", "osImage": "kubelet-bridge dev host", "operatingSystem": "linux",
            "architecture": "amd64", "containerRuntimeVersion": "dev-host://1", "kubeletVersion": facts.kubelet_version,
            "kubeProxyVersion": "",
        },
        "runtimeHandlers": [{"name": "", "features": {"recursiveReadOnlyMounts": True, "userNamespaces": False}}],
    }  # fmt: skip


def heartbeat(now: datetime) -> dict[str, Any]:
    """virt-handler's sign of life; without one for five minutes virt-controller gives the host's guests up.

    A restart of the host also takes back what virt-controller did meanwhile: it makes a silent host unschedulable.
    """
    return {
        "metadata": {
            "annotations": {HEARTBEAT_ANNOTATION: timestamp(now)},
            "labels": {"kubevirt.io/schedulable": "true"},
        }
    }


def lease(name: str, uid: str, now: datetime) -> dict[str, Any]:
    """The whole Lease, as it is created."""
    return {
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": name, "namespace": LEASE_NAMESPACE,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}],
        },
        "spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, **renewal(now)},
    }  # fmt: skip


def renewal(now: datetime) -> dict[str, Any]:
    """The part of a Lease's spec that changes; a MicroTime."""
    return {"renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}


def handler_pod(name: str, image: str, metrics_port: int) -> dict[str, Any]:
    """The virt-handler Pod of a host, on the host's own network and bound to it from the start.

    virt-api finds the handler by its label, ``spec.nodeName`` and ``status.podIP`` (client-go/kubecli/handler.go).
    """
    ports = [{"name": "metrics", "containerPort": metrics_port}] if metrics_port else []
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": f"virt-handler-{name}", "namespace": "kubevirt", "labels": {"kubevirt.io": "virt-handler"},
        },
        "spec": {
            "nodeName": name, "hostNetwork": True, "tolerations": [{"operator": "Exists"}],
            "automountServiceAccountToken": False,
            "containers": [{"name": "virt-handler", "image": image, "ports": ports}],
        },
    }  # fmt: skip


def _resources(capacity: Capacity) -> dict[str, str]:
    devices = str(max(1000, capacity.pods))
    return {
        "cpu": capacity.cpu, "memory": capacity.memory, "pods": str(capacity.pods), "ephemeral-storage": "4Ti",
        "hugepages-1Gi": "0", "hugepages-2Mi": "0",
        **{f"devices.kubevirt.io/{device}": devices for device in _DEVICES},
    }  # fmt: skip


def _conditions(now: datetime) -> list[dict[str, str]]:
    good = (
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("NetworkUnavailable", "False", "RouteCreated", "the whole Pod range is this machine's"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    )
    moment = timestamp(now)
    return [
        {"type": type_, "status": value, "reason": reason, "message": message, "lastHeartbeatTime": moment,
         "lastTransitionTime": moment}
        for type_, value, reason, message in good
    ]  # fmt: skip
