"""Whether the bridges of a whole test run have used every right that the chart grants, and no other.

    KUBELET_BRIDGE_AUDIT_TO=build/audit.log pytest tests/integration tests/e2e tests/crash
    python -m tests.support.rightsaudit build/audit.log

Bridges of the development cluster have the chart's rights without its names and namespaces: of those nothing is told.
"""

import sys
import tempfile
from pathlib import Path

from kubelet_bridge.devcluster import binaries
from kubelet_bridge.devcluster.identities import BRIDGE_ACCOUNT, BRIDGE_NAMESPACE
from kubelet_bridge.devcluster.progress import Progress
from tests.support.chart import MUTATING, Helm
from tests.support.rights import Right, granted, requests, unused

OF_HELM_TEST = Right("", "pods", "create")

NOT_REACHED = {
    Right("", "nodes", "patch"): "a Node that an earlier release has left, with other labels or taints",
    Right("cdi.kubevirt.io", "datavolumes/source", "create"): "CDI's webhook asks whether we may; we send no request",
    Right("cdi.kubevirt.io", "cdiconfigs", "get"): "the size of a clone of an image that somebody else has made ready",
    Right("cdi.kubevirt.io", "datasources", "get"): "likewise",
    Right("snapshot.storage.k8s.io", "volumesnapshots", "get"): "likewise, and no snapshots are served there",
    Right(
        "subresources.kubevirt.io", "virtualmachineinstances/portforward", "get"
    ): "a listener in a guest without agent",
}
"""Rights that are needed, and why no test on the development cluster comes to use them."""


def main(log: Path) -> int:
    """Print what is too much and what is too little; 1 when there is either."""
    with tempfile.TemporaryDirectory() as directory:
        objects = Helm(binaries.helm(Progress())).render(served=MUTATING, directory=Path(directory))
    grants = {Right(*right[:3]) for right in granted(objects)} - {OF_HELM_TEST}
    seen = requests(log, f"system:serviceaccount:{BRIDGE_NAMESPACE}:{BRIDGE_ACCOUNT}")
    refused = {Right(*one.right[:3]) for one in seen if one.why_not}
    too_much = unused(grants - NOT_REACHED.keys(), [one.right for one in seen if not one.why_not])
    for what, rights in (("granted and not used", too_much), ("used and not granted", refused)):
        for right in sorted(rights):
            print(f"{what}: {right.verb} {right.resource} ({right.group or 'core'})")  # noqa: T201 - its output
    return 1 if too_much or refused else 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
