"""From a manifest to what a shim is told; pure but for the guest's own users."""

from __future__ import annotations

from pathlib import Path

from kubelet_bridge.agent.driver import RunError
from kubelet_bridge.agent.host.cgroups import Cgroup
from kubelet_bridge.agent.host.environment import environment
from kubelet_bridge.agent.host.identity import Identity, identity_of
from kubelet_bridge.agent.host.process import Command
from kubelet_bridge.agent.host.shim.spec import Spec
from kubelet_bridge.agent.v1 import agent_pb2 as pb

# As a kubelet has it: containerLogMaxSize 10Mi, containerLogMaxFiles 5.
LOG_BYTES = 10 * 1024 * 1024
LOG_FILES = 5

# include/uapi/linux/capability.h, in order of their numbers.
CAPABILITIES = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
]


def spec_of(manifest: pb.PodManifest, container: pb.Container, log: Path, cgroup: Cgroup) -> Spec:
    """What the shim is to run.

    Raises:
        RunError: ``CreateContainerConfigError``: there is no command, or nobody to run it as.
    """
    argv = [*container.command, *container.args]
    if not argv:
        raise RunError("CreateContainerConfigError", "no command specified")
    who = identity_of(manifest, container)
    security = container.security
    return Spec(
        argv=argv,
        env=environment(who, manifest.hostname, _pairs(container), tty=container.tty),
        cwd=container.working_dir or "/",
        uid=who.uid,
        gid=who.gid,
        groups=who.groups,
        tty=container.tty,
        stdin=container.stdin or container.tty,
        stdin_once=container.stdin_once,
        log=str(log),
        log_bytes=LOG_BYTES,
        log_files=LOG_FILES,
        cgroups=cgroup.directories,
        memory_events=cgroup.events,
        grace=float(manifest.termination_grace_seconds or 30),
        no_new_privileges=security.HasField("allow_privilege_escalation") and not security.allow_privilege_escalation,
        drop_capabilities=[] if security.privileged else dropped(security),
        read_only_root=security.read_only_root_filesystem,
        termination_path=container.termination_message_path,
    )


def command_in(spec: Spec, argv: list[str], cgroups: list[str]) -> Command:
    """Another command beside the container's own: user, environment and directory as it was started, and its cgroup."""
    who = Identity(spec.uid, spec.gid, spec.groups, spec.env.get("USER", ""), spec.env.get("HOME", "/"))
    return Command(argv, dict(spec.env), spec.cwd, who, [f"{one}/cgroup.procs" for one in cgroups])


def dropped(security: pb.Security) -> list[int]:
    """The numbers of the capabilities it may never have; names are with or without ``CAP_``."""
    kept = {_plain(name) for name in security.add_capabilities}
    gone = {_plain(name) for name in security.drop_capabilities}
    return [number for number, name in enumerate(CAPABILITIES) if name not in kept and (name in gone or "ALL" in gone)]


def _plain(name: str) -> str:
    upper = name.upper()
    return upper[4:] if upper.startswith("CAP_") else upper


def _pairs(container: pb.Container) -> list[tuple[str, str]]:
    return [(one.name, one.value) for one in container.env]
