"""The intents this node has accepted: reads come from memory, writes return when they are on disk."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from kubelet_bridge.model.intent import Intent, IntentStatus
from kubelet_bridge.store import rows
from kubelet_bridge.store.batch import Change
from kubelet_bridge.store.database import Database
from kubelet_bridge.store.ledger import KEEP, Ledger, Table

__all__ = ["KEEP", "IntentStore"]


def _destroyed(intent: Intent) -> Intent:
    return msgspec.structs.replace(intent, status=IntentStatus.DESTROYED)


class IntentStore(Ledger[Intent]):
    """Live intents by Pod uid, or by the uid of a Pod's machine."""

    TABLE = Table("intents", "transitions", rows.LIVE, rows.decode_live, rows.save, rows.prune, _destroyed, "dpl")

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._machines: dict[str, set[str]] = {}

    def machines(self, uid: str) -> list[Intent]:
        """The live rows of the machines of a Pod uid."""
        return [one for machine in self._machines.get(uid, ()) if (one := self._live.get(machine)) is not None]

    async def adopt(self, found: Iterable[Intent], *, now: datetime) -> int:
        """Take over what ``rebuild`` found and this store does not know, all or nothing; return how many.

        Raises:
            Transient: the disk takes no writes.
        """
        new = [one for one in found if one.uid not in self._live]
        changes = [rows.save(None, one, reason="Rebuilt", now=now) for one in new]

        def settled(committed: bool) -> None:
            for one in new:
                self._settled(one, committed)

        if new:
            statements = tuple(statement for change in changes for statement in change.statements)
            await self._database.commit(Change("intent.adopt", statements), settled=settled)
        return len(new)

    def _changed(self, intent: Intent) -> None:
        """Keep the uids of a Pod's machines, by the Pod's."""
        if not intent.pod_uid:
            return
        uids = self._machines.setdefault(intent.pod_uid, set())
        if intent.uid in self._live:
            uids.add(intent.uid)
        else:
            uids.discard(intent.uid)
        if not uids:
            del self._machines[intent.pod_uid]
