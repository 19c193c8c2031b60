"""A container as podman is asked to make it (libpod's SpecGenerator, pkg/specgen/specgen.go of 4.3). Pure."""

from __future__ import annotations

import signal
from typing import Any, Mapping, NamedTuple

from kubelet_bridge.agent.driver import RunError
from kubelet_bridge.agent.podman import users
from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.agent.volumes import read_only

LABEL = "io.kubelet-bridge."
# A guard for when no agent runs: one that does gives back the space of what has been sent.
LOG_BYTES = 1024 * 1024 * 1024
CPU_PERIOD = 100_000
# The kubelet's constants (pkg/kubelet/cm/helpers_linux.go).
LEAST_SHARES = 2
LEAST_QUOTA = 1000
_PROPAGATION = {
    pb.MOUNT_PROPAGATION_HOST_TO_CONTAINER: "rslave",
    pb.MOUNT_PROPAGATION_BIDIRECTIONAL: "rshared",
}


class Places(NamedTuple):
    """Files and directories of the guest that the container is to see or that are written for it.

    Attributes:
        mounts: for each of the manifest's mounts in order, the directory or file.
        devices: for each of its devices in order.
        hosts: the Pod's ``/etc/hosts``.
        message: the termination message's file.
        cgroup: the parent of its cgroup.
    """

    mounts: list[str]
    devices: list[str]
    hosts: str
    message: str
    log: str
    cgroup: str


def container_name(container: str, attempt: int, boot: str) -> str:
    """Podman's name of a run; the same run always has the same one, so it cannot be made twice."""
    return f"{container}-{attempt}-{boot[:13]}".rstrip("-")


def labels(manifest: pb.PodManifest, container: pb.Container, attempt: int, image_id: str, log: str) -> dict[str, str]:
    """What ``runs`` needs to know of a container."""
    told = {
        "pod-uid": manifest.pod_uid,
        "container": container.name,
        "attempt": str(attempt),
        "boot": manifest.boot,
        "image": container.image,
        "image-id": image_id,
        "log": log,
    }
    return {LABEL + key: value for key, value in told.items()}


def spec(
    manifest: pb.PodManifest,
    container: pb.Container,
    name: str,
    image: str,
    image_user: str,
    places: Places,
    told: Mapping[str, str],
    target: str,
    machine_memory: int,
) -> dict[str, Any]:
    """The whole request.

    ``target`` is podman's name of the container whose processes it is to see, if any.

    Raises:
        RunError: ``CreateContainerConfigError``.
    """
    security = container.security
    host = {"nsmode": "host"}
    made: dict[str, Any] = {
        "name": name,
        "image": image,
        "labels": dict(told),
        "env": _environment(manifest, container),
        "httpproxy": False,
        "netns": host,
        "ipcns": host,
        "utsns": host,
        "cgroupns": {"nsmode": "private"},
        "pidns": _processes(manifest, target),
        "mounts": _mounts(manifest, container, places),
        "devices": [{"path": f"{at}:{device.path}"} for at, device in zip(places.devices, container.devices)],
        "log_configuration": {"driver": "k8s-file", "path": places.log, "size": LOG_BYTES},
        "cgroup_parent": places.cgroup,
        "resource_limits": _limits(container.resources),
        # As the kubelet has it with cgroup v2: what runs out of memory goes as a whole.
        "unified": {"memory.oom.group": "1"},
        "oom_score_adj": oom_score(container.resources, machine_memory),
        "stdin": container.stdin,
        "terminal": container.tty,
        "privileged": security.privileged,
        "read_only_filesystem": security.read_only_root_filesystem,
        "no_new_privileges": security.HasField("allow_privilege_escalation")
        and not security.allow_privilege_escalation,
        "cap_add": _capabilities(security.add_capabilities),
        "cap_drop": _capabilities(security.drop_capabilities),
        "groups": users.groups_of(manifest),
        "systemd": "false",
        "sdnotifyMode": "ignore",
        "image_volume_mode": "anonymous",
    }
    optional = {
        "user": users.user_of(manifest, container, image_user),
        "entrypoint": list(container.command),
        "command": list(container.args),
        "work_dir": container.working_dir,
        "stop_signal": _signal(container.stop_signal),
    }
    made.update({key: value for key, value in optional.items() if value})
    return made


def oom_score(resources: pb.Resources, machine_memory: int) -> int:
    """Whom the kernel kills first when the machine's memory is used up (pkg/kubelet/qos/policy.go)."""
    request = resources.memory_request_bytes or resources.memory_limit_bytes
    if not request and not resources.cpu_request_millis and not resources.cpu_limit_millis:
        return 1000
    memory_is_sure = resources.memory_limit_bytes != 0 and resources.memory_limit_bytes == request
    cpu_is_sure = resources.cpu_limit_millis != 0 and resources.cpu_request_millis in {0, resources.cpu_limit_millis}
    if memory_is_sure and cpu_is_sure:
        return -997
    return min(max(3, 1000 - 1000 * request // max(1, machine_memory)), 999)


def hosts_file(manifest: pb.PodManifest, machine: str) -> str:
    """``/etc/hosts`` for all containers: the machine's, the Pod's own name and its aliases."""
    lines = ["# Managed by kubelet-bridge.", machine.rstrip("\n")]
    if manifest.pod_ip and manifest.hostname:
        lines.append(f"{manifest.pod_ip}\t{manifest.hostname}")
    if manifest.host_aliases:
        lines += ["", "# Entries added by HostAliases."]
        lines += ["\t".join([alias.ip, *alias.hostnames]) for alias in manifest.host_aliases]
    return "\n".join(lines) + "\n"


def _environment(manifest: pb.PodManifest, container: pb.Container) -> dict[str, str]:
    variables = {"HOSTNAME": manifest.hostname} if manifest.hostname else {}
    if container.tty:
        variables["TERM"] = "xterm"
    variables.update({variable.name: variable.value for variable in container.env})
    return variables


def _processes(manifest: pb.PodManifest, target: str) -> dict[str, str]:
    """The machine is the Pod's own: shared means the machine's processes."""
    if manifest.share_process_namespace:
        return {"nsmode": "host"}
    return {"nsmode": "container", "value": target} if target else {"nsmode": "private"}


def _mounts(manifest: pb.PodManifest, container: pb.Container, places: Places) -> list[dict[str, Any]]:
    made = [
        _bind(
            at,
            mount.path,
            [_PROPAGATION.get(mount.propagation, "rprivate"), "ro" if read_only(manifest, mount) else "rw"],
        )
        for at, mount in zip(places.mounts, container.mounts)
    ]
    taken = {mount.path.rstrip("/") for mount in container.mounts}
    if "/etc/hosts" not in taken:
        made.append(_bind(places.hosts, "/etc/hosts", ["rprivate", "rw"]))
    message = container.termination_message_path
    if message and message.rstrip("/") not in taken:
        made.append(_bind(places.message, message, ["rprivate", "rw"]))
    return made


def _bind(source: str, destination: str, options: list[str]) -> dict[str, Any]:
    return {"type": "bind", "source": source, "destination": destination, "options": ["rbind", *options]}


def _limits(resources: pb.Resources) -> dict[str, Any]:
    limits: dict[str, Any] = {"cpu": {"shares": _shares(resources)}}
    if resources.cpu_limit_millis:
        quota = max(LEAST_QUOTA, resources.cpu_limit_millis * CPU_PERIOD // 1000)
        limits["cpu"].update(period=CPU_PERIOD, quota=quota)
    if resources.memory_limit_bytes:
        limits["memory"] = {"limit": resources.memory_limit_bytes, "swap": resources.memory_limit_bytes}
    return limits


def _shares(resources: pb.Resources) -> int:
    millis = resources.cpu_request_millis or resources.cpu_limit_millis
    return max(LEAST_SHARES, millis * 1024 // 1000)


def _capabilities(names: Any) -> list[str]:
    upper = [str(name).upper() for name in names]
    return [name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}" for name in upper]


def _signal(name: str) -> int:
    if not name:
        return 0
    try:
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"].value
    except KeyError:
        raise RunError(users.REASON, f"there is no signal {name}") from None
