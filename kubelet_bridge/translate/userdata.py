"""The user's own cloud-init documents, from the Secret or ConfigMap that an annotation names.

Their content is the user's secret: it reaches no event, no error and no annotation.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.snapshot import EventType, Inputs, PodEvent
from kubelet_bridge.translate import annotations

ANNOTATION = f"metadata.annotations[{annotations.CLOUD_INIT}]"

_KEYS = ("userdata", "userData", "user-data")
_VENDOR_KEYS = ("vendordata", "vendorData", "vendor-data")
_NETWORK_KEYS = ("networkdata", "networkData", "network-config")
_KINDS: dict[str, Literal["ConfigMap", "Secret"]] = {"configmap": "ConfigMap", "secret": "Secret"}
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


class Reference(msgspec.Struct, frozen=True):
    """An object that holds cloud-init documents; ``key`` of the user data, empty: the usual one."""

    kind: Literal["ConfigMap", "Secret"]
    name: str
    key: str = ""


class UserDocuments(msgspec.Struct, frozen=True):
    """The user's documents, empty where there is none; what is missing, in the kubelet's words; events for the Pod."""

    user_data: bytes = b""
    vendor_data: bytes = b""
    network_data: bytes = b""
    missing: tuple[str, ...] = ()
    notes: tuple[PodEvent, ...] = ()

    def __repr__(self) -> str:
        return f"UserDocuments(missing={self.missing!r})"


def is_wanted(pod: Pod) -> bool:
    """Whether the Pod has the annotation."""
    return bool(pod.metadata.annotations.get(annotations.CLOUD_INIT))


def reference(pod: Pod) -> Reference | None:
    """What the annotation names; None without one, and when it is none of ``[secret/|configmap/]NAME[/KEY]``.

    Whether an object may have that name is not looked at.
    """
    words = pod.metadata.annotations.get(annotations.CLOUD_INIT, "").strip().split("/")
    if words == [""] or len(words) > 3:
        return None
    if len(words) == 1:
        return Reference("Secret", words[0])
    kind, name, *key = words
    if kind not in _KINDS or not all(map(_KEY.fullmatch, key)):
        return None
    return Reference(_KINDS[kind], name, *key)


def documents(pod: Pod, inputs: Inputs) -> UserDocuments:
    """The documents themselves."""
    wanted = reference(pod)
    if wanted is None:
        return UserDocuments()
    content = _content(wanted, inputs)
    if content is None:
        return _absent(f"Mandatory{wanted.kind}NotFound", f'{wanted.kind.lower()} "{wanted.name}" not found')
    found = UserDocuments(
        _first(content, [wanted.key] if wanted.key else _KEYS),
        _first(content, _VENDOR_KEYS),
        _first(content, _NETWORK_KEYS),
    )
    if found.user_data or (not wanted.key and (found.vendor_data or found.network_data)):
        return found
    key = wanted.key or _KEYS[0]
    return _absent(
        f"Mandatory{wanted.kind}KeyNotFound",
        f"couldn't find key {key} in {wanted.kind} {pod.metadata.namespace}/{wanted.name}",
    )


def _content(wanted: Reference, inputs: Inputs) -> Mapping[str, bytes] | None:
    if wanted.kind == "Secret":
        secret = inputs.secrets.get(wanted.name)
        return None if secret is None else secret.data
    config_map = inputs.config_maps.get(wanted.name)
    if config_map is None:
        return None
    return {**{key: text.encode() for key, text in config_map.data.items()}, **config_map.binary_data}


def _first(content: Mapping[str, bytes], keys: Iterable[str]) -> bytes:
    return next((content[key] for key in keys if content.get(key)), b"")


def _absent(reason: str, message: str) -> UserDocuments:
    return UserDocuments(missing=(message,), notes=(PodEvent(EventType.WARNING, reason, message),))
