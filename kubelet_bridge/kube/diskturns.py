"""One virtual machine at a time for a disk that only one may write to: two file systems on one disk destroy each other.

A kubelet gives the containers of one node the same mount, and the attach controller keeps other nodes away. Here every
Pod is a machine of its own, and nothing else keeps two of them apart: where the real claim is shared storage, not even
KubeVirt does.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

import msgspec

from kubelet_bridge.kube.claimusers import ClaimUsers, claims
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.informer import Cached, Informer
from kubelet_bridge.model.kubevirt import VmiPhase
from kubelet_bridge.model.meta import LABEL_NODE, LABEL_POD_UID, ObjectHead, PodKey, label_value
from kubelet_bridge.model.resources import VIRTUALMACHINEINSTANCES
from kubelet_bridge.translate.ownership import belongs
from kubelet_bridge.translate.vocabulary import TERMINAL


class _Status(msgspec.Struct, frozen=True):
    phase: str = ""


class _Phased(msgspec.Struct, frozen=True):
    status: _Status = _Status()


class _List(msgspec.Struct):
    items: list[msgspec.Raw] = []


_PHASED = msgspec.json.Decoder(_Phased)
_HEAD = msgspec.json.Decoder(ObjectHead)


class DiskTurns:
    """Who may have which disk. ``pods`` are the node's, with an index ``uid``; ``vmis`` its instances."""

    def __init__(self, client: Client, node_name: str, users: ClaimUsers, pods: Informer, vmis: Informer) -> None:
        self._client = client
        self._others = f"{LABEL_NODE}!={label_value(node_name)}"
        self._users = users
        self._pods = pods
        self._vmis = vmis
        self._taken: dict[tuple[str, str], dict[PodKey, bool]] = {}

    async def take(self, key: PodKey, wanted: Mapping[str, bool]) -> list[str]:
        """See ``ClusterPort.take_disks``.

        Between the look and the taking nothing else runs; a VM is in the cache as soon as it is made. Instances of
        other nodes and of people are asked for.
        """
        places = {(key.namespace, claim): reads for claim, reads in wanted.items()}
        if found := [words for place, reads in places.items() for words in self._here(key, place, reads=reads)]:
            return sorted({*found})
        for place, reads in places.items():
            self._taken.setdefault(place, {})[key] = reads
        if places and (found := [words async for words in self._elsewhere(key, wanted)]):
            self.give_back(key, wanted)
        return sorted({*found})

    def give_back(self, key: PodKey, names: Iterable[str] | None = None) -> None:
        """See ``ClusterPort.give_back_disks``."""
        for place in [*self._taken] if names is None else [(key.namespace, claim) for claim in names]:
            takers = self._taken.get(place, {})
            takers.pop(key, None)
            if not takers:
                self._taken.pop(place, None)

    def _here(self, key: PodKey, place: tuple[str, str], *, reads: bool) -> Iterator[str]:
        """Who of this node has, or is about to have, the disk.

        A Pod that was deleted by force may yet get its VM: a request whose answer was lost can be carried out late.
        """
        for one, only_reads in self._users.of(*place):
            self._has_it(place, one.head)
            if not (belongs(one.head.labels, key) or (reads and only_reads) or self._is_over(one, key)):
                yield _words(place[1], f"virtual machine {one.head.name}")
        for other, only_reads in self._taken.get(place, {}).items():
            if other != key and not (reads and only_reads) and not self._has_ended(other.owner.uid):
                yield _words(place[1], f"Pod {other.name}")

    def _has_it(self, place: tuple[str, str], head: ObjectHead) -> None:
        """The VM for which somebody took the disk is there: from now on that counts."""
        taken = self._taken.get(place, {})
        for other in [one for one in taken if belongs(head.labels, one)]:
            del taken[other]

    def _is_over(self, one: Cached, key: PodKey) -> bool:
        """Whether a VM or an instance has ended and will not run again."""
        instance = self._vmis.get(one.head.namespace, one.head.name)
        phase = VmiPhase(_PHASED.decode(instance.raw).status.phase) if instance is not None else VmiPhase.UNSET
        if instance is not None and not phase.final:
            return False
        owner = one.head.labels.get(LABEL_POD_UID, "")
        another_machine_of_the_pod = owner == key.owner.uid
        return phase.final if another_machine_of_the_pod else self._has_ended(owner)

    def _has_ended(self, pod_uid: str) -> bool:
        """Whether the Pod is there, and has ended; one that is not there may have left a VM that runs on."""
        found = self._pods.by_index("uid", pod_uid)
        return bool(found) and _PHASED.decode(found[0].raw).status.phase in TERMINAL

    async def _elsewhere(self, key: PodKey, wanted: Mapping[str, bool]) -> AsyncIterator[str]:
        """Who has the disks on other nodes, or without any."""
        body = await self._client.list(VIRTUALMACHINEINSTANCES, key.namespace, label_selector=self._others)
        for raw in msgspec.json.decode(body, type=_List).items:
            if VmiPhase(_PHASED.decode(raw).status.phase).final:
                continue
            head = _HEAD.decode(raw)
            for claim, reads in claims(raw).items():
                if claim in wanted and not (reads and wanted[claim]) and not belongs(head.labels, key):
                    yield _words(claim, f"virtual machine {head.name}")


def _words(claim: str, who: str) -> str:
    return f'Multi-Attach error for volume "{claim}": it is already used by {who}'
