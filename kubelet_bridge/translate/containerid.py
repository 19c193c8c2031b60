"""A container's id: the boot of the VM it runs in, and the run in it. Clients key probes and crash detection on it."""

_MACHINE_SCHEME = "kubevirt://"
_AGENT_SCHEME = "kubelet-bridge://"


def container_id(vmi_uid: str) -> str:
    """``kubevirt://<uid>``, of a container that is the VM itself; empty while there is no boot."""
    return f"{_MACHINE_SCHEME}{vmi_uid}" if vmi_uid else ""


def run_id(vmi_uid: str, run: str) -> str:
    """``kubelet-bridge://<uid>/<run>``, of a container that the agent runs; empty while there is no run.

    ``run`` may be such an id itself, of another boot.
    """
    if is_run(run):
        return run
    return f"{_AGENT_SCHEME}{vmi_uid}/{run}" if run else ""


def vmi_uid_of(identifier: str) -> str:
    """The uid of the boot in a container id of ours; empty for any other."""
    if is_run(identifier):
        return identifier.removeprefix(_AGENT_SCHEME).partition("/")[0]
    return identifier.removeprefix(_MACHINE_SCHEME) if identifier.startswith(_MACHINE_SCHEME) else ""


def is_machine(identifier: str) -> bool:
    """Whether the id is that of a container that is the VM itself."""
    return identifier.startswith(_MACHINE_SCHEME)


def is_run(identifier: str) -> bool:
    """Whether the id is that of a container that an agent ran: its end is not that of the VM."""
    return identifier.startswith(_AGENT_SCHEME)
