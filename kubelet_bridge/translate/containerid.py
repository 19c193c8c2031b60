"""A container's id: the boot of the VM it runs in. Clients key probes, logs and crash detection on it."""

_SCHEME = "kubevirt://"


def container_id(vmi_uid: str) -> str:
    """``kubevirt://<uid>``; empty while there is no boot."""
    return f"{_SCHEME}{vmi_uid}" if vmi_uid else ""


def vmi_uid_of(identifier: str) -> str:
    """The uid in a container id of ours; empty for any other."""
    return identifier.removeprefix(_SCHEME) if identifier.startswith(_SCHEME) else ""
