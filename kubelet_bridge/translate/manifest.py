"""The manifest: everything an agent needs to run a Pod, resolved. Made from the Pod, what it points at, and its VM."""

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.model.core import Container, Pod, PodSecurityContext
from kubelet_bridge.model.intent import Carried, Hosting, Intent
from kubelet_bridge.model.quantity import Quantity
from kubelet_bridge.model.snapshot import EventType, Inputs, PodEvent, Snapshot
from kubelet_bridge.translate import annotations, claims, pullsecrets, sshkeys
from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.downward import KNOWN_AFTER_BOOT
from kubelet_bridge.translate.hostname import fqdn, hostname
from kubelet_bridge.translate.launcher import addresses
from kubelet_bridge.translate.manifestcontainers import Resolved, World, resolve
from kubelet_bridge.translate.manifestfiles import volume_files
from kubelet_bridge.translate.missing import MissingInputs
from kubelet_bridge.translate.resources import VmSize, vm_size
from kubelet_bridge.translate.vocabulary import Reason, RestartPolicy
from kubelet_bridge.translate.volumes import root_volume, serial, source_of
from kubelet_bridge.translate.volumesources import FILE_SOURCES

DEFAULT_GRACE = 30
_SHELL = ("/bin/sh", "-l")
_RUNTIMES = {
    Hosting.MACHINE: pb.RUNTIME_HOST,
    Hosting.SYSTEM: pb.RUNTIME_HOST,
    Hosting.OCI: pb.RUNTIME_PODMAN,
}
_RESTART_POLICIES = {
    RestartPolicy.ALWAYS: pb.RESTART_POLICY_ALWAYS,
    RestartPolicy.ON_FAILURE: pb.RESTART_POLICY_ON_FAILURE,
    RestartPolicy.NEVER: pb.RESTART_POLICY_NEVER,
}


def build(snapshot: Snapshot, config: BridgeConfig, *, host_ip: str = "") -> pb.PodManifest | None:
    """The manifest for the boot that ``snapshot`` shows; None while there is none, or nobody has taken note of it yet.

    Args:
        snapshot: with the intent as it is stored, and with inputs, tokens included.
        config: the node's settings.
        host_ip: our node's address.

    Raises:
        MissingInputs: something that the Pod points at is not there.
    """
    pod, intent, vmi = snapshot.pod, snapshot.intent, snapshot.vmi
    if pod is None or intent is None or vmi is None or vmi.metadata.uid != intent.vmi_uid:
        return None
    pod_ips = [one.ip for one in addresses(snapshot.active_launcher)]
    if not pod_ips:
        return None
    inputs = snapshot.inputs or Inputs()
    known = {
        "status.podIP": pod_ips[0], "status.podIPs": ",".join(pod_ips),
        "status.hostIP": host_ip, "status.hostIPs": host_ip,
    }  # fmt: skip
    restarts = {name: one.restarts for name, one in intent.carried.items()}
    world = World(pod, inputs, vm_size(pod, config), known, restarts)
    manifest = pb.PodManifest(pod_uid=snapshot.key.uid, boot=vmi.metadata.uid, pod_ip=pod_ips[0])
    manifest.runtime = _RUNTIMES[intent.hosting]
    _describe(manifest, pod, config)
    if intent.hosting is Hosting.MACHINE:
        manifest.containers.append(_machine(world, pod.spec.containers[0]))
        manifest.ephemeral_containers.extend(_debuggers(world, mounts=False))
        _give_shells(manifest)
    else:
        _fill(manifest, _contents(world), intent)
    manifest.ssh_keys.CopyFrom(_ssh_keys(pod, inputs))
    return _numbered(manifest)


def check(pod: Pod, inputs: Inputs, machine: VmSize) -> list[PodEvent]:
    """Whether a manifest can be made of ``inputs``, before there is a VM: the events that go with it.

    Raises:
        MissingInputs: something that the Pod points at is not there.
    """
    contents = _contents(World(pod, inputs, machine, dict.fromkeys(KNOWN_AFTER_BOOT, "")))
    return [*contents.notes, *pullsecrets.credentials(pod, inputs).notes]


class _Contents(msgspec.Struct, frozen=True):
    init_containers: list[Resolved]
    containers: list[Resolved]
    ephemeral_containers: list[pb.Container]
    volumes: list[pb.Volume]
    credentials: list[pb.PullCredential]
    notes: list[PodEvent]


def _contents(world: World) -> _Contents:
    """Containers and volumes."""
    pod = world.pod
    volumes, absent = _volumes(world)
    if absent:
        notes = [PodEvent(EventType.WARNING, "FailedMount", text) for text in absent]
        raise MissingInputs(absent, notes, waiting=Reason.CONTAINER_CREATING)
    init = [resolve(world, one, init=True) for one in pod.spec.init_containers]
    main = [resolve(world, one) for one in pod.spec.containers]
    notes = [note for one in (*init, *main) for note in one.notes]
    if missing := [text for one in (*init, *main) for text in one.missing]:
        raise MissingInputs(missing, notes)
    logins = [
        pb.PullCredential(
            registry=one.registry, username=one.username, password=one.password, identity_token=one.identity_token
        )
        for one in pullsecrets.credentials(pod, world.inputs).credentials
    ]
    return _Contents(init, main, _debuggers(world), volumes, logins, notes)


def _volumes(world: World) -> tuple[list[pb.Volume], list[str]]:
    """The Pod's volumes, and what keeps some from being made."""
    root = root_volume(world.pod)
    made, absent = [], []
    for volume in world.pod.spec.volumes:
        name, kind = str(volume.get("name")), source_of(volume)
        source: dict[str, Any] = volume.get(kind) or {}
        if kind in FILE_SOURCES:
            found = volume_files(world.pod, kind, source, world.inputs, world.machine)
            absent += [f'MountVolume.SetUp failed for volume "{name}" : {text}' for text in found.missing]
            made.append(pb.Volume(name=name, files=found.files))
        elif kind == "emptyDir":
            made.append(pb.Volume(name=name, empty_dir=_empty_dir(source)))
        elif kind == "persistentVolumeClaim" and name != root and (disk := _disk(world, volume)) is not None:
            made.append(pb.Volume(name=name, disk=disk))  # the root is mounted by the guest itself
    return made, absent


def _disk(world: World, volume: dict[str, Any]) -> pb.Disk | None:
    """None for one that no container mounts, as with a kubelet. One of raw blocks is never formatted."""
    name, containers = str(volume.get("name")), list(_every_container(world.pod))
    mounted = any(mount.name == name for one in containers for mount in one.volume_mounts)
    given = any(device.name == name for one in containers for device in one.volume_devices)
    if not mounted and not given:
        return None
    found = world.inputs.claims.get(claims.claim_names(world.pod).get(name, ""))
    block = given or claims.is_raw(found)
    read_only = claims.is_read_only(volume, found)
    return pb.Disk(serial=serial(name), block=block, read_only=read_only, format_if_empty=not (block or read_only))


def _empty_dir(source: dict[str, Any]) -> pb.EmptyDir:
    limit = Quantity.parse(source.get("sizeLimit") or 0).ceil()
    return pb.EmptyDir(memory=source.get("medium") == "Memory", size_limit_bytes=limit)


def _every_container(pod: Pod) -> Iterator[Container]:
    yield from (*pod.spec.init_containers, *pod.spec.containers, *pod.spec.ephemeral_containers)


def _machine(world: World, container: Container) -> pb.Container:
    """The one container that is the machine itself: its name, and its environment for whoever enters it.

    KubeVirt probes it, and its volumes are disks that nobody mounts.
    """
    alone = Container(name=container.name, image=container.image, env=container.env, env_from=container.env_from)
    found = resolve(world, alone)
    if found.missing:
        raise MissingInputs(found.missing, found.notes)
    return found.container


def _debuggers(world: World, *, mounts: bool = True) -> list[pb.Container]:
    """The ephemeral containers. One that cannot be resolved is left out: the others run already."""
    bare: dict[str, Any] = {} if mounts else {"volume_mounts": [], "volume_devices": []}
    wanted = [msgspec.structs.replace(one, **bare) for one in world.pod.spec.ephemeral_containers]
    return [found.container for found in (resolve(world, one) for one in wanted) if not found.missing]


def _give_shells(manifest: pb.PodManifest) -> None:
    """``kubectl debug`` names an image and no command; where commands run on an OS, its image has a shell."""
    for one in manifest.ephemeral_containers:
        if not one.command and not one.args:
            one.command.extend(_SHELL)


def _fill(manifest: pb.PodManifest, contents: _Contents, intent: Intent) -> None:
    policy = manifest.restart_policy
    manifest.init_containers.extend(one.container for one in contents.init_containers)
    manifest.containers.extend(
        one.container for one in contents.containers if not is_over(intent.carried.get(one.container.name), policy)
    )
    manifest.ephemeral_containers.extend(contents.ephemeral_containers)
    if manifest.runtime == pb.RUNTIME_HOST:
        _give_shells(manifest)
    manifest.volumes.extend(contents.volumes)
    manifest.pull_credentials.extend(contents.credentials)


def is_over(carried: Carried | None, policy: pb.RestartPolicy.ValueType) -> bool:
    """Whether a main container succeeded in an earlier boot and is not to run again."""
    done = carried is not None and carried.end is not None and carried.end.exit_code == 0
    return done and policy == pb.RESTART_POLICY_ON_FAILURE


def _describe(manifest: pb.PodManifest, pod: Pod, config: BridgeConfig) -> None:
    spec, grace = pod.spec, pod.spec.termination_grace_period_seconds
    manifest.pod_name, manifest.pod_namespace = pod.metadata.name, pod.metadata.namespace
    manifest.restart_policy = _RESTART_POLICIES[RestartPolicy(spec.restart_policy)]
    manifest.termination_grace_seconds = DEFAULT_GRACE if grace is None else grace
    full_name = fqdn(pod, config.cluster_domain) if spec.set_hostname_as_fqdn else ""
    manifest.hostname = full_name or hostname(pod)
    manifest.host_aliases.extend(
        pb.HostAlias(ip=str(one.get("ip", "")), hostnames=one.get("hostnames") or []) for one in spec.host_aliases
    )
    manifest.security.CopyFrom(_security(spec.security_context or PodSecurityContext()))
    manifest.share_process_namespace = bool(spec.share_process_namespace)
    manifest.registries_conf = config.registries_conf.encode()


def _security(context: PodSecurityContext) -> pb.PodSecurity:
    return pb.PodSecurity(
        run_as_user=context.run_as_user,
        run_as_group=context.run_as_group,
        run_as_non_root=context.run_as_non_root,
        fs_group=context.fs_group,
        supplemental_groups=context.supplemental_groups,
        sysctls=[pb.Sysctl(name=one.get("name", ""), value=one.get("value", "")) for one in context.sysctls],
    )


def _ssh_keys(pod: Pod, inputs: Inputs) -> pb.SshKeys:
    """The lines for ``authorized_keys``. A Secret that has gone away must not lock anybody out."""
    keys = sshkeys.authorized_keys(pod, inputs)
    if keys.missing:
        raise MissingInputs(keys.missing, keys.notes)
    made = pb.SshKeys(user=pod.metadata.annotations.get(annotations.USER, ""), lines=keys.lines)
    made.revision = _hash(made.SerializeToString(deterministic=True))
    return made


def _numbered(manifest: pb.PodManifest) -> pb.PodManifest:
    """With its revisions: what follows other objects while everything runs, files and SSH keys, has its own."""
    files, rest = hashlib.sha256(), pb.PodManifest()
    rest.CopyFrom(manifest)
    for volume in rest.volumes:
        if volume.WhichOneof("source") == "files":
            files.update(volume.SerializeToString(deterministic=True))
            volume.files.ClearField("files")
    files.update(manifest.ssh_keys.revision.encode())
    rest.ClearField("ssh_keys")
    manifest.files_revision = files.hexdigest()[:16]
    manifest.revision = _hash(rest.SerializeToString(deterministic=True))
    return manifest


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
