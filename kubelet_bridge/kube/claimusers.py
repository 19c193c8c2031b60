"""Which virtual machines have a claim as a disk, by the caches of VMs and instances; nothing is asked for."""

from collections.abc import Iterable
from typing import Any

import msgspec

from kubelet_bridge.kube.informer import Cached, Informer


class _InstanceSpec(msgspec.Struct, frozen=True):
    volumes: list[dict[str, Any]] = []


class _Template(msgspec.Struct, frozen=True):
    spec: _InstanceSpec = _InstanceSpec()


class _Spec(msgspec.Struct, frozen=True):
    template: _Template = _Template()
    volumes: list[dict[str, Any]] = []


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    volume_status: list[dict[str, Any]] = []


class _Machine(msgspec.Struct, frozen=True):
    spec: _Spec = _Spec()
    status: _Status = _Status()


_DECODER = msgspec.json.Decoder(_Machine)


CLAIM_INDEX = "claim"


class ClaimUsers:
    """Looks into the caches of VMs and of their instances, which have the index ``by_claim``."""

    def __init__(self, *kinds: Informer) -> None:
        self._kinds = kinds

    def names(self, namespace: str, claim: str) -> list[str]:
        """Of the VMs that have ``claim``, under either name that KubeVirt has for it."""
        return sorted({one.head.name for one, _ in self.of(namespace, claim)})

    def of(self, namespace: str, claim: str) -> list[tuple[Cached, bool]]:
        """The VMs and instances that have it, each with whether it may only read."""
        found = [one for kind in self._kinds for one in kind.by_index(CLAIM_INDEX, f"{namespace}/{claim}")]
        return [(one, claims(one.raw)[claim]) for one in found]


def by_claim(cached: Cached) -> Iterable[str]:
    """Indexer of VMs and instances."""
    return [f"{cached.head.namespace}/{claim}" for claim in claims(cached.raw)]


def claims(raw: bytes | msgspec.Raw) -> dict[str, bool]:
    """The claims that a VM or an instance has, each with whether it may only read.

    A disk that is unplugged is no longer in the instance's spec while its guest still has it: its status tells.
    """
    found: dict[str, bool] = {}
    try:
        machine = _DECODER.decode(raw)
    except msgspec.ValidationError:  # an index must not end the watch; what is shaped so, KubeVirt does not run
        return {}
    spec = machine.spec
    for volume in (*spec.template.spec.volumes, *spec.volumes):
        direct, made = volume.get("persistentVolumeClaim") or {}, volume.get("dataVolume") or {}
        if name := str(direct.get("claimName") or made.get("name") or ""):
            found[name] = found.get(name, True) and bool(direct.get("readOnly"))
    attached = (one.get("persistentVolumeClaimInfo") or {} for one in machine.status.volume_status)
    return {str(one["claimName"]): False for one in attached if one.get("claimName")} | found
