"""The cloud-init Secret: what the guest learns at its first boot.

The document is JSON, which is YAML too, so nothing in it is taken for YAML syntax; the environment is base64 inside,
as YAML forbids some characters that a variable may hold. In the guest it is readable by root only.
"""

import base64
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.meta import PodKey, cloud_init_secret_name
from kubelet_bridge.translate import annotations
from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.hostname import fqdn, hostname
from kubelet_bridge.translate.network import mac_address
from kubelet_bridge.translate.ownership import metadata
from kubelet_bridge.translate.support import CannotTranslate, Refusal

ENVIRONMENT_FILE = "/etc/kubelet-bridge/env"
SECRET_LIMIT = 2**20
"""Bytes in a Secret (``MaxSecretSize`` in ``pkg/apis/core/types.go``)."""


def secret(
    pod: Pod, key: PodKey, config: BridgeConfig, variables: Mapping[str, str], authorized_keys: list[str]
) -> dict[str, Any]:
    """The manifest of the Secret, with the keys that KubeVirt's NoCloud volume reads.

    Raises:
        CannotTranslate: it would be larger than a Secret may be.
    """
    user_data = b"#cloud-config\n" + _json(cloud_config(pod, config, variables, authorized_keys))
    network_data = _json(network_config(pod, config))
    size = len(user_data) + len(network_data)
    if size > SECRET_LIMIT:
        reason = f"the environment makes a cloud-init Secret of {size} bytes, and a Secret holds {SECRET_LIMIT}"
        raise CannotTranslate([Refusal("spec.containers[0].env", reason)])
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(cloud_init_secret_name(key), key, config.node_name),
        "type": "Opaque",
        "data": {"userdata": _base64(user_data), "networkdata": _base64(network_data)},
    }


def cloud_config(
    pod: Pod, config: BridgeConfig, variables: Mapping[str, str], authorized_keys: list[str]
) -> dict[str, Any]:
    """The ``#cloud-config`` document."""
    full_name = fqdn(pod, config.cluster_domain)
    document: dict[str, Any] = {"hostname": hostname(pod), "preserve_hostname": False, "manage_etc_hosts": "localhost"}
    if full_name:
        document |= {"fqdn": full_name, "prefer_fqdn_over_hostname": pod.spec.set_hostname_as_fqdn}
    document |= _users(pod.metadata.annotations.get(annotations.USER, ""), authorized_keys)
    if content := environment_file(variables):
        document["write_files"] = [
            {
                "path": ENVIRONMENT_FILE,
                "permissions": "0600",
                "owner": "root:root",
                "encoding": "b64",
                "content": _base64(content.encode()),
            }
        ]
    return document


def _users(name: str, authorized_keys: list[str]) -> dict[str, Any]:
    """The keys go to the user asked for, or else to the image's own."""
    keys = {"ssh_authorized_keys": authorized_keys} if authorized_keys else {}
    if not name:
        return keys
    user = {"name": name, "sudo": "ALL=(ALL) NOPASSWD:ALL", "lock_passwd": True, **keys}
    return {"users": ["default", user], **({"disable_root": False} if name == "root" else {})}


def network_config(pod: Pod, config: BridgeConfig) -> dict[str, Any]:
    """Network configuration, version 2: DHCP on the one interface, found by its MAC address."""
    interface = {"match": {"macaddress": mac_address(pod.metadata.uid)}, "dhcp4": True, "dhcp6": config.ipv6}
    return {"version": 2, "ethernets": {"primary": interface}}


def environment_file(variables: Mapping[str, str]) -> str:
    r"""``variables`` as an ``EnvironmentFile`` of systemd, without those that cannot be written into one.

    Double quotes, with ``\``, ``"``, ``$`` and a backtick escaped, mean the same to systemd (systemd.exec(5)) and to a
    POSIX shell, line breaks included.
    """
    return "".join(
        f'{name}="{value.translate(_ESCAPED)}"\n' for name, value in variables.items() if _is_writable(name, value)
    )


def unwritable(variables: Mapping[str, str]) -> Iterable[str]:
    """Names of the variables that ``environment_file`` leaves out."""
    return (name for name, value in variables.items() if not _is_writable(name, value))


_ESCAPED = {ord(character): f"\\{character}" for character in '\\"$`'}


def _is_writable(name: str, value: str) -> bool:
    return name.isascii() and name.isidentifier() and "\0" not in value


def _json(document: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
