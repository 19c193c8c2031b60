"""The Pod's volumes as directories of the guest, whatever runs the containers.

``prepare`` makes them ready and brings those that changed up to date; it blocks (call it in a thread), and repeating it
is harmless. Only the drivers call it.
"""

from __future__ import annotations

from kubelet_bridge.agent.volumes.files import read_only
from kubelet_bridge.agent.volumes.prepare import prepare
from kubelet_bridge.agent.volumes.subpath import sub_path

__all__ = ["prepare", "read_only", "sub_path"]
