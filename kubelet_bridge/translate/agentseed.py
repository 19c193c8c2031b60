"""What cloud-init writes into a guest for its agent: the seed, the installer, and what runs the installer."""

import functools
from typing import Any

import msgspec

from kubelet_bridge.agent import install
from kubelet_bridge.model.guesttoken import SERVER_NAME, boot_token
from kubelet_bridge.translate.config import GuestAccess

SEED_PATH = "/etc/kubelet-bridge/agent.json"
BOOT_SCRIPT_PATH = "/var/lib/cloud/scripts/per-boot/kubelet-bridge.sh"
"""cloud-init runs what is there at every boot, in its last stage (the module ``scripts_per_boot``)."""

AGENTS = "/var/lib/kubelet-bridge/agent"
INSTALLED_MARK = "/var/lib/kubelet-bridge/installed"
"""There is nothing left to install. An image that comes with the agent has it from the start."""

# In the background: the installer tries for minutes to reach the bridge, and neither the boot nor the user's own
# commands have to wait for it. At every boot: the first may have been cut short.
_BOOT_SCRIPT = f"""\
#!/bin/sh
if [ -e {INSTALLED_MARK} ]; then
    current=$(readlink {AGENTS}/current.pyz)
    # A disk may have lost what the agent's file was: it is named by its SHA-256.
    if [ "$(sha256sum <"{AGENTS}/$current" 2>/dev/null | cut -c 1-64).pyz" = "$current" ]; then exit 0; fi
fi
( sh {install.INSTALLER_PATH} && touch {INSTALLED_MARK} ) </dev/null >>/var/log/kubelet-bridge-install.log 2>&1 &
"""


class File(msgspec.Struct, frozen=True):
    """A file for the guest, root's own; ``mode`` in octal digits."""

    path: str
    mode: str
    content: str


def files(pod_uid: str, guest: GuestAccess) -> list[File]:
    """The files by which an agent comes to run in the Pod's guest."""
    return [
        File(SEED_PATH, "0600", seed(pod_uid, guest)),
        File(install.INSTALLER_PATH, "0700", _installer()),
        File(BOOT_SCRIPT_PATH, "0700", _BOOT_SCRIPT),
    ]


def seed(pod_uid: str, guest: GuestAccess) -> str:
    """``agent.json``. The token is the Pod's for good, so that the Secret stays the same however often it is made."""
    document: dict[str, Any] = {
        "version": 1,
        "pod_uid": pod_uid,
        "address": guest.address,
        "server_name": SERVER_NAME,
        "ca": guest.ca,
        "token": boot_token(guest.key, pod_uid),
        "agent": {
            "version": guest.agent_version,
            "digest": guest.agent_digest,
            "url": f"{guest.files_url}/agent/{guest.agent_digest}.pyz",
            "size": guest.agent_size,
        },
    }
    if guest.vsock_port:
        document["vsock_port"] = guest.vsock_port
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


@functools.cache
def _installer() -> str:
    return install.installer()
