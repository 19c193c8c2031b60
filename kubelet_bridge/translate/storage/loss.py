"""What became of a disk that is lost, in words."""

from kubelet_bridge.model.volumeintent import VolumeIntent


def replaced(intent: VolumeIntent) -> str:
    """The claim behind it is there, and is not the one that was filled."""
    return f"claim {intent.datavolume} behind it was deleted by somebody else, and made anew empty"
