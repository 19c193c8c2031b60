"""Credentials for registries from the Pod's ``imagePullSecrets``, for the agent that pulls in the guest.

Formats: ``pkg/credentialprovider/config.go`` in Kubernetes: ``.dockerconfigjson`` is Docker's ``config.json``,
``.dockercfg`` its ``auths`` alone. As with a kubelet, a Secret that is missing or malformed is passed over: the image
may be public. A Secret's content never reaches an event.
"""

import base64
import binascii
from collections.abc import Iterator

import msgspec

from kubelet_bridge.model.core import Pod, Secret
from kubelet_bridge.model.snapshot import EventType, Inputs, PodEvent

_CONFIG_KEY = ".dockerconfigjson"
_LEGACY_KEY = ".dockercfg"


class Credential(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """How to log in to ``registry``, which may have a path; by password, or by an identity token."""

    registry: str
    username: str = ""
    password: str = ""
    identity_token: str = ""

    def __repr__(self) -> str:
        return f"Credential(registry={self.registry!r})"


class PullCredentials(msgspec.Struct, frozen=True):
    """Credentials in the order of the Secrets, and events for the Pod."""

    credentials: list[Credential]
    notes: list[PodEvent]


class _Entry(msgspec.Struct):
    username: str = ""
    password: str = ""
    auth: str = ""
    identity_token: str = msgspec.field(name="identitytoken", default="")


class _Config(msgspec.Struct):
    auths: dict[str, _Entry] = {}


def pull_secrets(pod: Pod) -> list[str]:
    """Names of the Secrets with credentials."""
    return [one.name for one in pod.spec.image_pull_secrets if one.name]


def credentials(pod: Pod, inputs: Inputs) -> PullCredentials:
    """Everything usable in the Pod's pull secrets."""
    found = PullCredentials([], [])
    for name in pull_secrets(pod):
        secret = inputs.secrets.get(name)
        if secret is None:
            what = f"Unable to retrieve some image pull secrets ({name}); attempting to pull the image may not succeed."
            found.notes.append(PodEvent(EventType.WARNING, "FailedToRetrieveImagePullSecret", what))
            continue
        try:
            found.credentials.extend(_entries(secret))
        except (msgspec.MsgspecError, binascii.Error, UnicodeDecodeError):
            what = f'secret "{name}" holds no credentials for registries that can be read; it is left out'
            found.notes.append(PodEvent(EventType.WARNING, "InvalidImagePullSecret", what))
    return found


def _entries(secret: Secret) -> Iterator[Credential]:
    if _CONFIG_KEY in secret.data:
        auths = msgspec.json.decode(secret.data[_CONFIG_KEY], type=_Config).auths
    elif _LEGACY_KEY in secret.data:
        auths = msgspec.json.decode(secret.data[_LEGACY_KEY], type=dict[str, _Entry])
    else:
        raise msgspec.ValidationError(f"neither {_CONFIG_KEY} nor {_LEGACY_KEY}")
    return iter([_credential(registry, entry) for registry, entry in auths.items()])


def _credential(registry: str, entry: _Entry) -> Credential:
    username, password = entry.username, entry.password
    if entry.auth:
        username, _, password = base64.b64decode(entry.auth, validate=True).decode().partition(":")
    return Credential(registry, username, password, entry.identity_token)
