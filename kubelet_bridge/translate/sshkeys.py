"""SSH public keys from the Secrets that the annotation names. A Secret's content never reaches an event or an error."""

import base64
import binascii
import re

import msgspec

from kubelet_bridge.model.core import Pod, Secret
from kubelet_bridge.model.snapshot import EventType, Inputs, PodEvent
from kubelet_bridge.translate import annotations

_PUBLIC_KEY = re.compile(
    r"(?P<type>ssh-(?:rsa|ed25519|dss)|ecdsa-sha2-nistp(?:256|384|521)|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)"
    r" +(?P<blob>[A-Za-z0-9+/]+={0,2})(?: [ -~]*)?"
)


class AuthorizedKeys(msgspec.Struct, frozen=True):
    """Lines for ``authorized_keys``; Secrets that are missing, in the kubelet's words; events for the Pod."""

    lines: list[str]
    missing: list[str]
    notes: list[PodEvent]


def key_secrets(pod: Pod) -> list[str]:
    """Names of the Secrets with SSH keys, as the annotation lists them."""
    listed = pod.metadata.annotations.get(annotations.SSH_KEYS, "").split(",")
    return [name.strip() for name in listed if name.strip()]


def authorized_keys(pod: Pod, inputs: Inputs) -> AuthorizedKeys:
    """One key for each line of each value of each Secret, without those that are not public keys."""
    keys = AuthorizedKeys([], [], [])
    for name in key_secrets(pod):
        secret = inputs.secrets.get(name)
        if secret is None:
            absent = f'secret "{name}" not found'
            keys.missing.append(absent)
            keys.notes.append(PodEvent(EventType.WARNING, "MandatorySecretNotFound", absent))
        else:
            _take(name, secret, keys)
    return AuthorizedKeys(list(dict.fromkeys(keys.lines)), keys.missing, keys.notes)


def _take(name: str, secret: Secret, keys: AuthorizedKeys) -> None:
    for key in sorted(secret.data):
        lines = [line.strip() for line in secret.data[key].decode(errors="replace").splitlines()]
        wanted = [line for line in lines if line and not line.startswith("#")]
        keys.lines.extend(line for line in wanted if is_public_key(line))
        if not all(is_public_key(line) for line in wanted):
            what = f'key "{key}" of secret "{name}" holds something that is no SSH public key; it is left out'
            keys.notes.append(PodEvent(EventType.WARNING, "InvalidSSHKey", what))


def is_public_key(line: str) -> bool:
    """Whether ``line`` is ``TYPE BASE64 [COMMENT]`` and the blob is of that type (RFC 4253, section 6.6)."""
    match = _PUBLIC_KEY.fullmatch(line)
    if match is None:
        return False
    try:
        blob = base64.b64decode(match["blob"], validate=True)
    except binascii.Error:
        return False
    type_ = match["type"].encode()
    return blob.startswith(len(type_).to_bytes(4, "big") + type_)
