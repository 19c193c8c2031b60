"""The files of a cloud-init disk, as pkg/cloud-init/cloud-init.go in KubeVirt writes them. Pure."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from kubelet_bridge.devcluster.devhost.qemu.vmispec import CloudInit, Reference, Vmi
from kubelet_bridge.errors import Terminal

NO_CLOUD_LABEL, CONFIG_DRIVE_LABEL = "cidata", "config-2"
_USER_KEYS, _NETWORK_KEYS = ("userdata", "userData"), ("networkdata", "networkData")
_INSTANCE_TYPES = ("kubevirt.io/cluster-instancetype-name", "kubevirt.io/instancetype-name")

Secrets = Callable[[str], Mapping[str, bytes]]
"""The data of a Secret in the VirtualMachineInstance's namespace, by name."""


def no_cloud(vmi: Vmi, source: CloudInit, hostname: str, secrets: Secrets) -> dict[str, bytes]:
    """The files of a NoCloud disk.

    Raises:
        Terminal: there is neither user data nor network data.
    """
    user, network = _documents(source, secrets)
    meta = _instance_type(vmi, "instance-type") | {
        "instance-id": vmi.spec.domain.firmware.uuid, "local-hostname": hostname,
    }  # fmt: skip
    files = {"user-data": user, "meta-data": msgspec.json.encode(meta)}
    return files | ({"network-config": network} if network else {})


def config_drive(vmi: Vmi, source: CloudInit, hostname: str, secrets: Secrets) -> dict[str, bytes]:
    """The files of a ConfigDrive disk.

    Raises:
        Terminal: there is neither user data nor network data.
    """
    user, network = _documents(source, secrets)
    meta = _instance_type(vmi, "instance_type") | {
        "instance_id": f"{vmi.metadata.name}.{vmi.metadata.namespace}", "hostname": hostname,
        "uuid": vmi.spec.domain.firmware.uuid,
    }  # fmt: skip
    latest = "openstack/latest"
    files = {f"{latest}/user_data": user, f"{latest}/meta_data.json": msgspec.json.encode(meta)}
    return files | ({f"{latest}/network_data.json": network} if network else {})


def _instance_type(vmi: Vmi, key: str) -> dict[str, Any]:
    found = next((value for name in _INSTANCE_TYPES if (value := vmi.metadata.annotations.get(name))), "")
    return {key: found} if found else {}


def _documents(source: CloudInit, secrets: Secrets) -> tuple[bytes, bytes]:
    user = _from_secret(source.secret_ref, _USER_KEYS, secrets) or _given(source.user_data, source.user_data_base64)
    network = _from_secret(source.network_data_secret_ref, _NETWORK_KEYS, secrets)
    network = network or _given(source.network_data, source.network_data_base64)
    if not user and not network:
        raise Terminal("cloud-init: neither user data nor network data", reason="CloudInitEmpty")
    return user, network


def _from_secret(reference: Reference | None, keys: tuple[str, ...], secrets: Secrets) -> bytes:
    data = secrets(reference.name) if reference is not None else {}
    return next((data[key] for key in keys if data.get(key)), b"")


def _given(plain: str, encoded: str) -> bytes:
    return plain.encode() if plain else base64.b64decode(encoded)
