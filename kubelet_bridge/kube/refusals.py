"""What storage says when it makes no volume for a claim, or for one of those by which CDI fills it.

CDI repeats it in a DataVolume's condition, but only the newest event of a claim, and soon that is somebody else's
(``pkg/controller/common``, UpdatePVCBoundContionFromEvents).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

import msgspec

from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.informer import Cached, Informer
from kubelet_bridge.kube.watch import EventKind
from kubelet_bridge.model.core import ObjectReference
from kubelet_bridge.model.resources import EVENTS
from kubelet_bridge.model.storage import ClaimPhase, PersistentVolumeClaim

CLAIM_UID = "uid"
"""The index of claims, by their own uid, that ``Refusals`` needs."""

_SUBJECT = "subject"
_SELECTOR = (
    "type=Warning,reason=ProvisioningFailed,involvedObject.kind=PersistentVolumeClaim,"
    "source!=persistentvolume-controller"
)
"""Of external provisioners (``sig-storage-lib-external-provisioner``, provisionClaimOperation). Kubernetes' own words
of that reason tell of conflicts between writers (``pkg/controller/volume/persistentvolume``), which pass.
"""

_FILLING = ("prime-", "tmp-pvc-")
"""Before the uid of the claim that CDI fills: its populators' claims, and those of clones (``clone/planner.go``)."""

_COPIED = re.compile(r"\[[^]]+] : ")
"""Before what CDI copies from those to the claim itself, where it stays when it is true no more."""

_NEVER = datetime.min.replace(tzinfo=UTC)
_CLAIM = msgspec.json.Decoder(PersistentVolumeClaim)


class _Refusal(msgspec.Struct, frozen=True, rename="camel"):
    involved_object: ObjectReference = ObjectReference()
    message: str = ""
    last_timestamp: datetime | None = None
    event_time: datetime | None = None

    @property
    def at(self) -> datetime:
        return self.last_timestamp or self.event_time or _NEVER


_DECODER = msgspec.json.Decoder(_Refusal)


def _by_subject(cached: Cached) -> Iterable[str]:
    refusal = _DECODER.decode(cached.raw)
    return () if _COPIED.match(refusal.message) else (refusal.involved_object.uid,)


class Refusals:
    """Watches them all, for ``claims``, which have the index ``CLAIM_UID``."""

    def __init__(self, client: Client, claims: Informer) -> None:
        self._claims = claims
        self.informer = Informer(client, EVENTS, field_selector=_SELECTOR, indexers={_SUBJECT: _by_subject})

    def of(self, claim: PersistentVolumeClaim) -> str:
        """Why the storage has no volume for a claim yet, in its own words; empty when it does not say."""
        told = (self._newest(one) for one in self._waiting(claim))
        return max((one for one in told if one is not None), key=lambda one: one.at, default=_Refusal()).message

    def subscribe(self, changed: Callable[[Cached], None]) -> None:
        """Call ``changed`` with the claim that a refusal is about, or for which CDI wanted the volume."""

        def told(_: EventKind, event: Cached) -> None:
            about = _DECODER.decode(event.raw).involved_object
            uid = next((about.name.removeprefix(one) for one in _FILLING if about.name.startswith(one)), about.uid)
            for claim in self._claims.by_index(CLAIM_UID, uid):
                changed(claim)

        self.informer.subscribe(told)

    def _waiting(self, claim: PersistentVolumeClaim) -> Iterator[str]:
        """The uids of those that have no volume, of a claim and the ones by which it is filled."""
        metadata = claim.metadata
        for name in (metadata.name, *(f"{prefix}{metadata.uid}" for prefix in _FILLING)):
            cached = self._claims.get(metadata.namespace, name)
            if cached is not None and _CLAIM.decode(cached.raw).phase is not ClaimPhase.BOUND:
                yield cached.head.uid

    def _newest(self, uid: str) -> _Refusal | None:
        events = (_DECODER.decode(one.raw) for one in self.informer.by_index(_SUBJECT, uid))
        return max(events, key=lambda one: one.at, default=None)
