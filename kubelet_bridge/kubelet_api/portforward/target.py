"""What is forwarded to, and how its errors are told."""

import msgspec

from kubelet_bridge.errors import BridgeError
from kubelet_bridge.kubelet_api.ports import PodRef, Ports


class Target(msgspec.Struct, frozen=True):
    """A Pod that was found, and the way to its ports."""

    ref: PodRef
    ports: Ports

    def failure(self, port: int, error: BridgeError) -> str:
        """In a kubelet's words, which users and tools know; for the Pod it has the sandbox's id, we its name."""
        return f"error forwarding port {port} to pod {self.ref.pod}, uid {self.ref.uid}: {error.message}"
