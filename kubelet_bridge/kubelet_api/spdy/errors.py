"""How a stream goes wrong, for those who read and write it."""

from kubelet_bridge.errors import Transient


class StreamEnded(Transient):
    """The stream was reset, or its connection has ended: nothing more can be read or written."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="StreamEnded")
