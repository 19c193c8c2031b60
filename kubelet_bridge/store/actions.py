"""One-shot actions on a VM (reboot, power off, …), each asked for with a nonce and carried out once."""

from datetime import datetime
from enum import StrEnum

import msgspec

from kubelet_bridge.store.batch import Change
from kubelet_bridge.store.database import Database
from kubelet_bridge.store.records import convert, select
from kubelet_bridge.store.rows import timestamp

_ENQUEUE = "INSERT OR IGNORE INTO actions (uid, nonce, action, requested_at, state) VALUES (?, ?, ?, ?, 'pending')"
_FINISH = """
UPDATE actions SET state = ?, finished_at = ?, result = ? WHERE uid = ? AND nonce = ? AND state = 'pending'
"""


class ActionState(StrEnum):
    """Where an action stands; ``dropped``: its VM was destroyed first."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"
    DROPPED = "dropped"


class Action(msgspec.Struct, frozen=True):
    """One action asked for."""

    uid: str
    nonce: str
    action: str
    requested_at: datetime
    state: ActionState
    result: str = ""


_PENDING = select(Action, "actions", "WHERE uid = ? AND state = 'pending' ORDER BY requested_at, rowid")


class ActionQueue:
    """Actions by Pod uid, first come first served. Every coroutine raises ``Transient`` while the disk is no use."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def enqueue(self, uid: str, action: str, *, nonce: str, now: datetime) -> bool:
        """Ask for ``action``; whether it is new: the same nonce asks for nothing twice.

        Raises:
            Terminal: there is no intent of that uid.
        """
        statement = (_ENQUEUE, (uid, nonce, action, timestamp(now)))
        return bool(await self._database.commit(Change("action.enqueue", (statement,))))

    async def pending(self, uid: str) -> list[Action]:
        """What is still to be done, oldest first."""
        return convert(Action, await self._database.read(_PENDING, (uid,)))

    async def finish(self, uid: str, *, nonce: str, state: ActionState, result: str, now: datetime) -> None:
        """Record how an action ended; one that has ended already keeps its first end."""
        statement = (_FINISH, (state, timestamp(now), result, uid, nonce))
        await self._database.commit(Change("action.finish", (statement,)))
