"""Which disks keep a running VM where it is: those that only some nodes have, and those that only one may use. Pure.

KubeVirt migrates a VM live only when all its claims are ReadWriteMany (``pkg/virt-handler/vm.go``, LiveMigratable), and
says so without a word of which disk it is. That a disk is on some nodes only is in the PersistentVolume behind the real
claim; for a disk that waits for its first consumer, there is one only when the VM has been scheduled.
"""

from collections.abc import Mapping
from typing import Any

from kubelet_bridge.model.kubevirt import VirtualMachineInstance
from kubelet_bridge.model.storage import AccessMode, PersistentVolume


def claims(vmi: VirtualMachineInstance) -> dict[str, str]:
    """The real claims that the VM has: by name of the disk, the name of the claim."""
    found = ((one.name, one.claim) for one in vmi.status.volume_status)
    return {name: claim.claim_name for name, claim in found if claim is not None and claim.claim_name}


def occasion(vmi: VirtualMachineInstance) -> str:
    """The boot and the disks that it has: what of it is pinned can only have changed when this has."""
    return " ".join((vmi.metadata.uid, *(f"{name}={claim}" for name, claim in sorted(claims(vmi).items()))))


def pinned(vmi: VirtualMachineInstance, volumes: Mapping[str, PersistentVolume]) -> dict[str, str]:
    """By name of the disk, in words, on which nodes alone it is; ``volumes`` are by claim."""
    found = ((name, volumes.get(claim)) for name, claim in claims(vmi).items())
    words = ((name, _where(volume)) for name, volume in found if volume is not None)
    return {name: where for name, where in words if where}


def words(vmi: VirtualMachineInstance, local: Mapping[str, str]) -> str:
    """What keeps the VM where it is; empty when nothing does. ``local`` is what ``pinned`` said of the disks."""
    named = {one.name: one.claim for one in vmi.status.volume_status if one.claim is not None}
    reasons = [f'"{name}" {local[name]}' for name in sorted(named) if name in local]
    for name, claim in sorted(named.items()):
        if name not in local and AccessMode.READ_WRITE_MANY not in claim.access_modes:
            modes = ", ".join(claim.access_modes) or "of no access mode"
            reasons.append(f'"{name}" (claim {claim.claim_name}) is {modes}')
    return (
        f"the virtual machine cannot move to another node while it runs: disk {', disk '.join(reasons)}"
        if reasons
        else ""
    )


def _where(volume: PersistentVolume) -> str:
    required = (volume.spec.node_affinity or {}).get("required")
    if not required:
        return ""
    terms = [_term(one) for one in required.get("nodeSelectorTerms") or []]
    nodes = " or ".join(one for one in terms if one) or "its node affinity allows"
    return f"(PersistentVolume {volume.metadata.name}) is only where {nodes}"


def _term(term: dict[str, Any]) -> str:
    """``kubernetes.io/hostname in [a b]``: a NodeSelectorTerm, as far as it is about labels."""
    expressions = term.get("matchExpressions") or []
    return " and ".join(
        f"{one.get('key')} {str(one.get('operator')).lower()} [{' '.join(one.get('values') or [])}]"
        for one in expressions
    )
