"""Which tolerations let a Pod sit out an absence of its node's bridge.

Admission (``plugin/pkg/admission/defaulttolerationseconds``) gives each Pod 300 s on a node that is not ready or not
reachable; then it is deleted, and our VM with it, though nothing is wrong with the VM. Of a toleration of a Pod that
exists only ``tolerationSeconds`` may be changed (``validateOnlyAddedTolerations`` in ``pkg/apis/core/validation``).
"""

from collections.abc import Sequence
from typing import Any

TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
DEFAULT_SECONDS = 300
"""Who wrote another number meant it."""

Json = dict[str, Any]


def lasting(tolerations: Sequence[Json]) -> list[Json] | None:
    """``tolerations`` without the default's end, in their order; None when there is none to take away."""
    found = [
        {name: value for name, value in one.items() if name != "tolerationSeconds"} if _ends(one) else one
        for one in tolerations
    ]
    return found if found != list(tolerations) else None


def _ends(toleration: Json) -> bool:
    default = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": DEFAULT_SECONDS}
    return toleration.get("key") in TAINTS and default.items() <= toleration.items()
