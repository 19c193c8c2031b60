"""A lost database, made again from what the cluster shows before the first Pod is looked at."""

from collections.abc import Callable
from datetime import datetime

import msgspec
import structlog

from kubelet_bridge.kube.view import NodeView
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.kubevirt import VirtualMachine
from kubelet_bridge.store.database import Database
from kubelet_bridge.store.intents import IntentStore
from kubelet_bridge.store.rebuild import rebuild

log = structlog.get_logger(__name__)


async def recover(database: Database, store: IntentStore, view: NodeView, clock: Callable[[], datetime]) -> None:
    """Take in what the cluster shows and the store does not know, from caches that have had their first list.

    A store that is whole learns nothing; one that was lost or deleted learns every VM and every Pod that was accepted.

    Raises:
        Transient: the disk takes no writes.
    """
    if database.set_aside is not None:
        log.error("the intent store was damaged and is begun anew", kept=str(database.set_aside))
    vms = [msgspec.json.decode(one.raw, type=VirtualMachine) for one in view.vms.all()]
    pods = [msgspec.json.decode(one.raw, type=Pod) for one in view.pods.all()]
    rebuilt = rebuild(vms, pods, new_id=store.new_id)
    found = await store.adopt((one for one in rebuilt if _may_be(one, store)), now=clock())
    if found:
        log.warning("intents rebuilt from the cluster", count=found)


def _may_be(found: Intent, store: IntentStore) -> bool:
    """A Pod that was accepted as one VM has no machines, whatever its annotation says now."""
    whole = store.get(found.pod_uid) if found.pod_uid else None
    return whole is None or whole.machines
