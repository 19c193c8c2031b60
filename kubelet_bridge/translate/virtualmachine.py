"""Pod to VirtualMachine: everything that is written for one Pod, decided from one snapshot."""

from typing import Any

import msgspec

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.intent import Allocation, Hosting
from kubelet_bridge.model.meta import (
    PodKey,
    firmware_uuid,
    short_hash,
)
from kubelet_bridge.model.quantity import Quantity
from kubelet_bridge.model.snapshot import EventType, Inputs, PodEvent, Snapshot
from kubelet_bridge.translate import (
    annotations,
    claims,
    cloudinit,
    environment,
    image,
    manifest,
    network,
    ownership,
    probes,
    resources,
    rootdisk,
    scheduling,
    sshkeys,
    userdata,
    volumes,
)
from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.hostname import hostname
from kubelet_bridge.translate.image import BootImage
from kubelet_bridge.translate.missing import MissingInputs
from kubelet_bridge.translate.remarks import remarks
from kubelet_bridge.translate.support import CannotTranslate, refusals

DEFAULT_GRACE = 30
_RUN_STRATEGIES = {"Always": "Always", "OnFailure": "RerunOnFailure", "Never": "Once"}


class Manifests(msgspec.Struct, frozen=True):
    """What is applied for one Pod.

    Attributes:
        secret: the cloud-init Secret, to be there before the VM.
        virtual_machine: the VM.
        spec_hash: changes when either does; it is an annotation of the VM too.
        image: what the VM boots from.
        boot: the same, resolved: where it has a disk of its own, that is to be made before the VM.
        hosting: how the Pod's containers live in it.
        allocation: what is promised with it.
        alone: the claims that no other VM may have meanwhile, each with whether this one only reads.
        notes: events for the Pod.
    """

    secret: dict[str, Any]
    virtual_machine: dict[str, Any]
    spec_hash: str
    image: str
    boot: BootImage
    hosting: Hosting
    allocation: Allocation
    alone: dict[str, bool]
    notes: list[PodEvent]


def build(snapshot: Snapshot, vm_name: str, config: BridgeConfig) -> Manifests:
    """The manifests for ``snapshot.pod``, which must be there.

    Inputs that were not looked up count as missing. The Pod's labels do not matter, nor do annotations of others.

    Raises:
        CannotTranslate: the Pod can never be a VM as it is written.
        Unresolvable: its image is nothing to boot from.
        MissingInputs: a ConfigMap, a Secret or a key of one is not there, or a claim cannot be a disk (yet).
    """
    pod, key = snapshot.pod, snapshot.key
    if pod is None:
        raise ValueError("there is no Pod to build a virtual machine for")
    if refused := refusals(pod, config):
        raise CannotTranslate(refused)
    boot, kind = image.boot_image(pod, config), image.hosting(pod, config)
    size = resources.vm_size(pod, config)
    guest = _guest_inputs(pod, snapshot.inputs or Inputs(), size, kind)
    user = boot.image.user if boot.image else ""
    secret = cloudinit.secret(pod, key, config, guest.variables, guest.authorized_keys, guest.own, image_user=user)
    root = rootdisk.size(pod, boot).wanted if rootdisk.has_one(boot) else 0
    real = claims.real_claims(pod, snapshot.inputs or Inputs())
    root_disk = rootdisk.name(key, boot) if rootdisk.has_one(boot) else ""
    read_only = claims.read_only(pod, snapshot.inputs or Inputs())
    disks = volumes.build(pod, boot, secret["metadata"]["name"], config, real, root_disk=root_disk, read_only=read_only)
    dns, dns_notes = network.dns(pod)
    spec = _instance_spec(pod, key, size, disks, config, managed=kind is not Hosting.MACHINE) | dns
    machine = _virtual_machine(pod, key, vm_name, spec, config)
    spec_hash = short_hash(msgspec.json.encode([secret, machine], order="sorted").decode())
    machine["metadata"]["annotations"] = _annotations(snapshot, spec_hash)
    return Manifests(
        secret=secret,
        virtual_machine=machine,
        spec_hash=spec_hash,
        image=boot.reference,
        boot=boot,
        hosting=kind,
        allocation=_allocation(pod, key, size, disks.scratch + root, managed=kind is not Hosting.MACHINE),
        alone=claims.alone(pod, snapshot.inputs or Inputs(), real, volumes.root_volume(pod)),
        notes=[*image.notes(boot), *remarks(pod, config), *guest.notes, *dns_notes],
    )


class _GuestInputs(msgspec.Struct, frozen=True):
    variables: dict[str, str]
    authorized_keys: list[str]
    own: userdata.UserDocuments
    notes: list[PodEvent]


def _guest_inputs(pod: Pod, inputs: Inputs, size: resources.VmSize, kind: Hosting) -> _GuestInputs:
    """What the guest is told of ConfigMaps, Secrets and Services.

    Environments of containers that an agent runs are not in cloud-init; they only have to be complete.
    """
    if inputs.unreadable:
        raise MissingInputs([inputs.unreadable], [])
    keys, own = sshkeys.authorized_keys(pod, inputs), userdata.documents(pod, inputs)
    notes, missing = [*keys.notes, *own.notes], [*keys.missing, *own.missing]
    variables: dict[str, str] = {}
    if kind is Hosting.MACHINE:
        found = environment.resolve(pod, pod.spec.containers[0], inputs, size)
        variables, notes, missing = found.variables, [*found.notes, *notes], [*found.missing, *missing]
    else:
        notes = [*manifest.check(pod, inputs, size), *notes]
    if missing:
        raise MissingInputs(missing, notes)
    if unwritable := sorted(cloudinit.unwritable(variables)):
        what = f"Keys [{', '.join(unwritable)}] cannot be environment variables of the guest and are left out"
        notes.append(PodEvent(EventType.WARNING, "InvalidEnvironmentVariableNames", what))
    return _GuestInputs(variables, keys.lines, own, notes)


def _virtual_machine(
    pod: Pod, key: PodKey, vm_name: str, instance_spec: dict[str, Any], config: BridgeConfig
) -> dict[str, Any]:
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": ownership.metadata(vm_name, key, config.node_name),
        "spec": {
            "runStrategy": _RUN_STRATEGIES.get(pod.spec.restart_policy, "Always"),
            "template": {"metadata": {"labels": ownership.labels(key, config.node_name)}, "spec": instance_spec},
        },
    }


def _annotations(snapshot: Snapshot, spec_hash: str) -> dict[str, str]:
    made = ownership.annotations(snapshot.key, snapshot.intent.id if snapshot.intent else "", spec_hash)
    return {name: value for name, value in made.items() if value}


def _instance_spec(
    pod: Pod, key: PodKey, size: resources.VmSize, disks: volumes.Disks, config: BridgeConfig, *, managed: bool
) -> dict[str, Any]:
    grace = pod.spec.termination_grace_period_seconds
    return {
        # Without it virt-api refuses every maxGuest where the KubeVirt object names no default architecture.
        "architecture": config.architecture,
        "hostname": hostname(pod),
        **({"subdomain": pod.spec.subdomain} if pod.spec.subdomain else {}),
        "terminationGracePeriodSeconds": DEFAULT_GRACE if grace is None else grace,
        "evictionStrategy": "LiveMigrateIfPossible",
        "domain": _domain(pod, key, size, disks, config, managed=managed),
        "networks": [{"name": network.NETWORK_NAME, "pod": {}}],
        "volumes": disks.volumes,
        **({} if managed else probes.build(pod.spec.containers[0])),
        **scheduling.build(pod.spec, config),
    }


def _domain(
    pod: Pod, key: PodKey, size: resources.VmSize, disks: volumes.Disks, config: BridgeConfig, *, managed: bool
) -> dict[str, Any]:
    memory = {"guest": Quantity.of_bytes(size.memory).canonical()}
    if size.max_memory:
        memory["maxGuest"] = Quantity.of_bytes(size.max_memory).canonical()
    return {
        "cpu": {"sockets": size.cpu, "cores": 1, "threads": 1, "maxSockets": size.max_cpu},
        "memory": memory,
        "firmware": {"uuid": firmware_uuid(key.uid, pod.metadata.annotations.get(annotations.CLOUD_INIT_SEED, ""))},
        "devices": {
            "disks": disks.disks,
            "interfaces": [network.interface(pod, key.uid, managed=managed)],
            "rng": {},
            "logSerialConsole": True,
            **({"autoattachVSOCK": True} if config.guest is not None and config.guest.vsock_port else {}),
        },
    }


def _allocation(pod: Pod, key: PodKey, size: resources.VmSize, disk: int, *, managed: bool) -> Allocation:
    return Allocation(
        cpu=size.cpu,
        memory=size.memory,
        disk=disk,
        mac=network.mac_address(key.uid),
        ports=[port["port"] for port in network.forwarded_ports(pod, managed=managed)],
        requests=resources.requests_by_container(pod),
    )
