"""The cloud-init Secret: what the guest learns at its first boot.

Our document is JSON, which is YAML too, so nothing in it is taken for YAML syntax; files are base64 inside, as YAML
forbids some characters that they may hold. In the guest it is readable by root only. With documents of the user's it
becomes the closing part of a MIME document (``multipart``).
"""

import base64
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.meta import PodKey, cloud_init_secret_name
from kubelet_bridge.translate import agentseed, annotations, multipart, userdata
from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.hostname import fqdn, hostname
from kubelet_bridge.translate.networkdata import network_config
from kubelet_bridge.translate.ownership import metadata
from kubelet_bridge.translate.support import CannotTranslate, Refusal
from kubelet_bridge.translate.userdata import UserDocuments

ENVIRONMENT_FILE = "/etc/kubelet-bridge/env"
SECRET_LIMIT = 2**20
"""Bytes in a Secret (``MaxSecretSize`` in ``pkg/apis/core/types.go``)."""


# Never what a boot waits for: --no-block, and only what the image has. Debian's unit is static, started by udev.
_QEMU_GUEST_AGENT = """\
if [ -d /run/systemd/system ] && systemctl cat qemu-guest-agent.service >/dev/null 2>&1; then
  systemctl enable --quiet qemu-guest-agent.service 2>/dev/null
  systemctl start --no-block qemu-guest-agent.service
elif [ -x /etc/init.d/qemu-guest-agent ] && command -v rc-update >/dev/null; then
  rc-update -q add qemu-guest-agent default
  rc-service -q qemu-guest-agent start
fi
true
"""


def secret(
    pod: Pod,
    key: PodKey,
    config: BridgeConfig,
    variables: Mapping[str, str],
    authorized_keys: list[str],
    own: UserDocuments = UserDocuments(),  # noqa: B008 - frozen
    *,
    image_user: str = "",
) -> dict[str, Any]:
    """The manifest of the Secret, with the keys that KubeVirt's NoCloud volume reads.

    ``variables`` become the environment file. ``own`` are the user's documents. ``image_user`` is the image's default
    user, where that is known.

    Raises:
        CannotTranslate: it would be larger than a Secret may be, or a document of the user's cannot be read.
    """
    ours = b"#cloud-config\n" + _json(cloud_config(pod, key.uid, config, variables, authorized_keys, image_user))
    data = {
        "userdata": _with_users(ours, own),
        "networkdata": own.network_data or _json(network_config(key.uid, config)),
    }
    _check_size(data, variables, own)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(cloud_init_secret_name(key), key, config.node_name),
        "type": "Opaque",
        "data": {name: _base64(content) for name, content in data.items()},
    }


def cloud_config(
    pod: Pod,
    uid: str,
    config: BridgeConfig,
    variables: Mapping[str, str],
    authorized_keys: list[str],
    image_user: str = "",
) -> dict[str, Any]:
    """The ``#cloud-config`` document of the guest that is known by ``uid``."""
    full_name = fqdn(pod, config.cluster_domain)
    document: dict[str, Any] = {"hostname": hostname(pod), "preserve_hostname": False, "manage_etc_hosts": "localhost"}
    if full_name:
        document |= {"fqdn": full_name, "prefer_fqdn_over_hostname": pod.spec.set_hostname_as_fqdn}
    document |= _users(pod.metadata.annotations.get(annotations.USER, ""), authorized_keys, image_user)
    if files := _files(uid, config, variables):
        document["write_files"] = files
    document["runcmd"] = [["sh", "-c", _QEMU_GUEST_AGENT]]
    return document


def _files(uid: str, config: BridgeConfig, variables: Mapping[str, str]) -> list[dict[str, str]]:
    files = agentseed.files(uid, config.guest) if config.guest else []
    if content := environment_file(variables):
        files.append(agentseed.File(ENVIRONMENT_FILE, "0600", content))
    return [
        {
            "path": file.path,
            "permissions": file.mode,
            "owner": "root:root",
            "encoding": "b64",
            "content": _base64(file.content.encode()),
        }
        for file in files
    ]


def _with_users(ours: bytes, own: UserDocuments) -> bytes:
    documents = [document for document in (own.vendor_data, own.user_data) if document]
    if not documents:
        return ours
    try:
        return multipart.combined(ours, documents)
    except multipart.Unreadable as error:
        raise CannotTranslate([Refusal(userdata.ANNOTATION, f"the document it names {error}")]) from error


def _check_size(data: Mapping[str, bytes], variables: Mapping[str, str], own: UserDocuments) -> None:
    size = sum(map(len, data.values()))
    if size <= SECRET_LIMIT:
        return
    users = len(own.user_data) + len(own.vendor_data) + len(own.network_data)
    field, what = (
        (userdata.ANNOTATION, "the document it names")
        if users > len(environment_file(variables))
        else ("spec.containers[0].env", "the environment")
    )
    reason = f"{what} makes a cloud-init Secret of {size} bytes, and a Secret holds {SECRET_LIMIT}"
    raise CannotTranslate([Refusal(field, reason)])


def _users(name: str, authorized_keys: list[str], image_user: str) -> dict[str, Any]:
    """The keys go to the user asked for, or else to the image's own.

    ``user`` renames the image's own, as its cloud.cfg has it (cc_users_groups); mostly that is its name already.
    """
    keys = {"ssh_authorized_keys": authorized_keys} if authorized_keys else {}
    if not name:
        return ({"user": image_user} if image_user else {}) | keys
    user = {"name": name, "sudo": "ALL=(ALL) NOPASSWD:ALL", "lock_passwd": True, **keys}
    return {"users": ["default", user], **({"disable_root": False} if name == "root" else {})}


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
