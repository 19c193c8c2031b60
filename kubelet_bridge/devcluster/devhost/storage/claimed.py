"""From a claim to the file behind it, asked of the API server."""

import asyncio
from pathlib import Path

import msgspec

from kubelet_bridge.devcluster.devhost.storage import decisions
from kubelet_bridge.devcluster.devhost.storage.objects import Claim, Volume
from kubelet_bridge.devcluster.devhost.storage.volumefiles import VolumeFiles
from kubelet_bridge.errors import Transient
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.quantity import Quantity
from kubelet_bridge.model.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES

_EVENT_SOURCE = "cdi.kubevirt.io/events.source"
"""NAMESPACE/NAME of what CDI posts a claim's events about (pkg/controller/common, AnnEventSource)."""


class ClaimedImage(msgspec.Struct, frozen=True):
    """The raw disk image of a claim.

    Attributes:
        path: the volume itself when ``block``; otherwise the image in it, which may not be there yet.
        capacity: of the volume, in bytes.
        for_claim: the claim that it is being filled for: the one itself, or whose populator's it is.
    """

    path: Path
    block: bool
    capacity: int
    for_claim: str


class ClaimedImages:
    """Looks claims up."""

    def __init__(self, client: Client, files: VolumeFiles) -> None:
        self._client = client
        self._files = files

    async def find(self, namespace: str, name: str) -> ClaimedImage | None:
        """The image of a claim; None when its volume is no volume of the dev hosts'.

        Raises:
            Transient: it is not bound (yet).
            Terminal: the volume's files are gone.
            ApiError: there is no such claim or volume, or no answer.
        """
        raw = await self._client.get(PERSISTENTVOLUMECLAIMS, namespace, name)
        claim = msgspec.json.decode(raw, type=Claim)
        if not claim.spec.volume_name or claim.status.phase != "Bound":
            raise Transient(f"claim {namespace}/{name} is not bound", reason="Unbound")
        raw = await self._client.get(PERSISTENTVOLUMES, None, claim.spec.volume_name)
        volume = msgspec.json.decode(raw, type=Volume)
        if volume.spec.csi is None or not decisions.is_ours(volume):
            return None
        block = volume.spec.volume_mode == "Block"
        return ClaimedImage(
            path=await asyncio.to_thread(self._files.image, volume.spec.csi.volume_handle, block=block),
            block=block,
            capacity=Quantity.parse(volume.spec.capacity.get("storage", "0")).ceil(),
            for_claim=_filled_for(claim),
        )


def _filled_for(claim: Claim) -> str:
    """CDI fills claims of its own: an import's is owned by the claim it is for, a clone's names it."""
    annotations = claim.metadata.annotations
    if _EVENT_SOURCE in annotations and annotations.get(f"{_EVENT_SOURCE}.kind") in ("", PERSISTENTVOLUMECLAIMS.kind):
        return annotations[_EVENT_SOURCE].rpartition("/")[2]
    owners = [one.name for one in claim.metadata.owner_references if one.kind == PERSISTENTVOLUMECLAIMS.kind]
    return owners[0] if owners else claim.metadata.name
