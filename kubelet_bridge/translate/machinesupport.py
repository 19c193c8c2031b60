"""What keeps a Pod from having a virtual machine for each of its containers."""

import msgspec

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.machines import machines, part, worded
from kubelet_bridge.translate.sharing import SHARING
from kubelet_bridge.translate.support import Refusal, refusals


def machine_refusals(pod: Pod, config: BridgeConfig) -> list[Refusal]:
    """Everything that does, by its path in the whole Pod; what concerns all containers is said once."""
    found = [Refusal(path, row.text) for row in SHARING for path in row.found(pod)]
    if not pod.spec.containers:
        return refusals(pod, config)
    for machine in machines(pod):
        apart = part(pod, machine.container)
        if apart is None:
            continue
        snapshot = Snapshot(key=PodKey("", "", ""), machine=machine)
        found += [msgspec.structs.replace(one, field=worded(snapshot, one.field)) for one in refusals(apart[0], config)]
    return list(dict.fromkeys(found))
