"""The last manifest, kept in memory (``/run``) for an agent that is started again while the bridge cannot be reached.

It holds secrets, so it never reaches a disk, and a reboot forgets it: then nothing runs until the bridge has said what.
What belongs to a boot of the VM is the bridge's to decide: a Pod may have been deleted, or moved, while it was off.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from google.protobuf.message import DecodeError

from kubelet_bridge.agent.files import read_json, write_json
from kubelet_bridge.agent.v1 import agent_pb2 as pb


def keep(path: Path, manifest: pb.PodManifest, boot_id: str) -> None:
    """Keep it, readable by root only, for this boot of the kernel. Blocks.

    Raises:
        OSError: there is no room.
    """
    content = base64.b64encode(manifest.SerializeToString()).decode("ascii")
    write_json(path, {"boot_id": boot_id, "manifest": content})


def load(path: Path, boot_id: str) -> pb.PodManifest | None:
    """What was kept in this boot; None when there is none. Blocks."""
    document = read_json(path)
    if document is None or document.get("boot_id") != boot_id:
        return None
    try:
        return pb.PodManifest.FromString(base64.b64decode(str(document.get("manifest", "")), validate=True))
    except (binascii.Error, ValueError, DecodeError):
        return None
