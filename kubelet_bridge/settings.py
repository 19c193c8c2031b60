"""Settings of ``kubelet-bridge run``: file, then environment (``KUBELET_BRIDGE_*``), then flags; the later wins.

Names are the same everywhere: ``node_name`` in the file, ``KUBELET_BRIDGE_NODE_NAME``, ``--node-name``.
"""

import difflib
import inspect
import os
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from kubelet_bridge.errors import SettingsError

PREFIX = "KUBELET_BRIDGE_"
CACHE_VARIABLE = "KUBELET_BRIDGE_CACHE"
OTHER_VARIABLES = frozenset({
    "KUBELET_BRIDGE_AUDIT_TO", "KUBELET_BRIDGE_BIN_DIR", "KUBELET_BRIDGE_CACHE", "KUBELET_BRIDGE_CONFIG",
    "KUBELET_BRIDGE_FAILPOINTS", "KUBELET_BRIDGE_SCHEMAS", "KUBELET_BRIDGE_TEST_CLUSTER",
})  # fmt: skip
"""Environment variables of the same prefix that are not settings of the daemon."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be set, with its default.

    Attributes:
        kubeconfig: file with credentials; in-cluster ones when empty.
        node_name: name of our Node object.
        node_labels: more labels for it.
        node_annotations: more annotations for it.
        node_ip: address the API server reaches us at; empty: the one that leads to the API server.
        taint_key: key of the Node's taint; empty means no taint.
        taint_value: its value.
        taint_effect: its effect.
        capacity_cpu: what the Node offers, as a quantity; empty: the sum of the schedulable KubeVirt nodes.
        capacity_memory: likewise.
        capacity_storage: likewise (``ephemeral-storage``).
        capacity_pods: how many Pods the Node takes; 0: the sum of the KubeVirt nodes' ``pods``.
        vm_overhead: memory, a quantity, that a launcher takes beside the guest; not where the Pod has an ``overhead``.
        default_cpu: vCPUs of a Pod that asks for none.
        default_memory: guest memory of a Pod that asks for none, as a quantity.
        max_hotplug_ratio: how far a VM may grow while it runs, as a multiple of its first size.
        architecture: of the guests.
        state_dir: directory of the intent store and certificates.
        listen: ``ADDRESS:PORT`` of the kubelet API.
        admin_listen: ``ADDRESS:PORT`` of /metrics, /livez, /readyz; keep it on loopback or behind a policy.
        tls_cert_file: serving certificate (PEM); empty: requested from the cluster, self-signed until it is approved.
        tls_key_file: its key.
        client_ca_file: CA of callers' client certificates; empty: the cluster's, from its ConfigMap.
        request_certificate: whether to request the serving certificate from the cluster.
        approve_certificate: whether to approve that request ourselves, which takes the right to approve for its signer.
        tolerate_outages: whether Pods that 300 s of our absence would evict are made to sit it out, by patching them.
        streaming_idle_seconds: when an exec, attach or port-forward without a byte in either direction is ended.
        stream_creation_seconds: how long its client may take to open the streams that belong together.
        guest_listen: ``ADDRESS:PORT`` that the agents in guests dial; empty: guests get no agent.
        guest_files_listen: ``ADDRESS:PORT`` from which guests fetch the agent's file.
        guest_address: ``HOST:PORT`` by which guests reach ``guest_listen``; empty: its port on the Node's address.
        guest_files_address: likewise for ``guest_files_listen``.
        guest_transport: tcp: agents dial the bridge; vsock: it comes to them through KubeVirt (feature gate VSOCK, and
            the right to get virtualmachineinstances/vsock); auto: vsock where the gate is on.
        agent_file: the agent (a zipapp) that guests are given; empty: the one built from this program.
        namespace: of our own objects, as the guests' authority; empty: that of our Pod, outside a cluster kube-system.
        runtime_image: container disk of the VM that runs OCI application images; empty: images are container disks.
        registries_file: a registries.conf(5) for that VM; empty: its own.
        images_config_map: ConfigMap in ``namespace`` whose ``images.yaml`` changes the image catalogue; empty: none.
        images_namespace: where golden images are; empty: ``namespace``. Whoever may write there decides what VMs boot.
        images_storage_class: of golden images and root disks; empty: the cluster's default.
        images_ready_made_in: namespaces, separated by commas, whose DataSources and golden images are used first.
        kubevirt_metrics_seconds: how often KubeVirt is asked what VMs use of which no agent tells; 0: never.
        resync_seconds: full resync, the safety net under the watches.
        lease_seconds: how often the Lease is renewed.
        status_seconds: how often the Node status is written though nothing changed.
        workers: Pods worked on at the same time.
        log_level: debug, info, warning or error.
        log_format: json or console.
    """

    kubeconfig: str = ""
    node_name: str = "kubelet-bridge"
    node_labels: dict[str, str] = {}
    node_annotations: dict[str, str] = {}
    node_ip: str = ""
    taint_key: str = "virtual-kubelet.io/provider"
    taint_value: str = "kubevirt"
    taint_effect: typing.Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = "NoSchedule"
    capacity_cpu: str = ""
    capacity_memory: str = ""
    capacity_storage: str = ""
    capacity_pods: int = 0
    vm_overhead: str = "360Mi"
    default_cpu: int = 1
    default_memory: str = "1Gi"
    max_hotplug_ratio: int = 4
    architecture: str = "amd64"
    state_dir: str = "/var/lib/kubelet-bridge"
    listen: str = "0.0.0.0:10250"
    admin_listen: str = "127.0.0.1:10255"
    tls_cert_file: str = ""
    tls_key_file: str = ""
    client_ca_file: str = ""
    request_certificate: bool = True
    approve_certificate: bool = False
    tolerate_outages: bool = False
    streaming_idle_seconds: float = 4 * 3600.0
    stream_creation_seconds: float = 30.0
    guest_listen: str = "0.0.0.0:10251"
    guest_files_listen: str = "0.0.0.0:10252"
    guest_address: str = ""
    guest_files_address: str = ""
    guest_transport: typing.Literal["tcp", "vsock", "auto"] = "tcp"
    agent_file: str = ""
    namespace: str = ""
    runtime_image: str = ""
    registries_file: str = ""
    images_config_map: str = "kubelet-bridge-images"
    images_namespace: str = ""
    images_storage_class: str = ""
    images_ready_made_in: str = "cozy-public,kubevirt-os-images,openshift-virtualization-os-images"
    kubevirt_metrics_seconds: float = 15.0
    resync_seconds: float = 15.0
    lease_seconds: float = 10.0
    status_seconds: float = 300.0
    workers: int = 16
    log_level: typing.Literal["debug", "info", "warning", "error"] = "info"
    log_format: typing.Literal["json", "console"] = "json"


_NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_HINTS = typing.get_type_hints(Settings)


def _unknown(name: str, known: typing.Iterable[str], where: str) -> SettingsError:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else ""
    return SettingsError(f"unknown setting {name} in {where}{hint}")


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings in ``KUBELET_BRIDGE_*`` variables, by field name, still as text.

    Raises:
        SettingsError: a variable of the prefix names no setting.
    """
    names = {PREFIX + field.upper(): field for field in _HINTS}
    found: dict[str, Any] = {}
    for variable, value in environment.items():
        ours = variable.startswith(PREFIX) and not variable.startswith(f"{PREFIX}DEV_")
        if not ours or variable in OTHER_VARIABLES:
            continue
        if variable not in names:
            raise _unknown(variable, names, "the environment")
        found[names[variable]] = structured(names[variable], value)
    return found


def structured(field: str, value: Any) -> Any:
    """``a=b,c=d`` for settings that are maps; text for all others (converted later)."""
    if typing.get_origin(_HINTS[field]) is not dict or not isinstance(value, str):
        return value
    pairs = [pair.partition("=") for pair in value.split(",") if pair]
    if bad := next((key for key, equals, _ in pairs if not equals), None):
        raise SettingsError(f"{field}: {bad!r} is not KEY=VALUE")
    return {key.strip(): text.strip() for key, _, text in pairs}


def merge(file: Mapping[str, Any], environment: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """One Settings of the three sources; ``flags`` holds what was given on the command line.

    Raises:
        SettingsError: a name is unknown (the nearest is named) or a value has the wrong form.
    """
    for name in file:
        if name not in _HINTS:
            raise _unknown(str(name), _HINTS, "the settings file")
    together = {**file, **from_environment(environment), **flags}
    try:
        settings = msgspec.convert(together, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"invalid setting: {error}") from error
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    if len(settings.node_name) > 253 or not _NODE_NAME.fullmatch(settings.node_name):
        raise SettingsError(
            f"node_name: {settings.node_name!r} is not a name for a Node (lower case, digits, '-', '.')"
        )
    for name in ("listen", "admin_listen"):
        address(name, getattr(settings, name))
    for name in ("guest_listen", "guest_files_listen", "guest_address", "guest_files_address"):
        if getattr(settings, name):
            address(name, getattr(settings, name))
    if settings.guest_listen and not settings.guest_files_listen:
        raise SettingsError("guest_listen and guest_files_listen go together")
    if bool(settings.tls_cert_file) != bool(settings.tls_key_file):
        raise SettingsError("tls_cert_file and tls_key_file go together")
    for name in ("resync_seconds", "lease_seconds", "status_seconds", "workers", "default_cpu", "max_hotplug_ratio"):
        if getattr(settings, name) <= 0:
            raise SettingsError(f"{name} must be more than 0")


def address(name: str, text: str) -> tuple[str, int]:
    """Split ``ADDRESS:PORT`` (``[::1]:PORT`` for IPv6).

    Raises:
        SettingsError: it is not of that form.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise SettingsError(f"{name}: {text!r} is not ADDRESS:PORT")
    return host.strip("[]"), int(port)


def cache_root() -> Path:
    """``$KUBELET_BRIDGE_CACHE``, else ``kubelet-bridge`` in the XDG cache directory: for what can be made again."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "kubelet-bridge"


def reference() -> str:
    """Every setting as a row of the documentation: file name, flag, default, meaning."""
    meanings = _meanings()
    rows = ["| setting | flag | default | meaning |", "|---|---|---|---|"]
    for field in msgspec.structs.fields(Settings):
        default = "{}" if field.default is msgspec.NODEFAULT else msgspec.json.encode(field.default).decode()
        flag = "--" + field.name.replace("_", "-")
        rows.append(f"| `{field.name}` | `{flag}` | `{default}` | {meanings[field.name]} |")
    return "\n".join(rows) + "\n"


def _meanings() -> dict[str, str]:
    """The attribute docstrings above, by field."""
    text = inspect.cleandoc(Settings.__doc__ or "").partition("Attributes:")[2]
    found = {}
    for line in text.strip().splitlines():
        name, _, meaning = line.strip().partition(": ")
        found[name] = meaning.replace("|", "\\|")
    return found
