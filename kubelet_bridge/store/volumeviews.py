"""The disks in the database, read from another process as ``views`` reads the Pods' intents."""

from datetime import datetime
from pathlib import Path

import msgspec

from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.intent import Transition
from kubelet_bridge.store.records import convert, select
from kubelet_bridge.store.views import reading

_FOUND = """
WHERE id = :wanted OR uid = :wanted OR namespace || '/' || name = :wanted
ORDER BY destroyed_at IS NOT NULL, accepted_at DESC LIMIT 1
"""


class VolumeSummary(msgspec.Struct, frozen=True):
    """One disk: the readable columns. ``size`` is a quantity, ``lost`` says what became of a disk that is."""

    id: str
    uid: str
    namespace: str
    name: str
    status: str
    datavolume: str
    size: str
    backing_class: str
    source: str
    lost: str
    accepted_at: datetime
    updated_at: datetime
    destroyed_at: datetime | None


class VolumeDetail(msgspec.Struct, frozen=True):
    """One disk and all that is remembered of it; ``intent`` is the row's own JSON."""

    summary: VolumeSummary
    intent: msgspec.Raw
    history: list[Transition]


def list_volumes(directory: Path, *, destroyed: bool = False) -> list[VolumeSummary]:
    """The live disks of a state directory, by namespace and claim, and the ``destroyed`` ones if asked for.

    Raises:
        Terminal: there is no database, or it cannot be read.
    """
    clause = "" if destroyed else "WHERE destroyed_at IS NULL "
    with reading(directory) as connection:
        rows = connection.execute(select(VolumeSummary, "volumes", f"{clause}ORDER BY namespace, name, accepted_at"))
        return convert(VolumeSummary, rows)


def show_volume(directory: Path, wanted: str) -> VolumeDetail:
    """The disk whose id, claim's uid or claim's ``namespace/name`` is ``wanted``; of one name the living comes first.

    Raises:
        Terminal: there is none, there is no database, or it cannot be read.
    """
    with reading(directory) as connection:
        found = convert(VolumeSummary, connection.execute(select(VolumeSummary, "volumes", _FOUND), {"wanted": wanted}))
        if not found:
            raise Terminal(f"no disk {wanted!r}", reason="UnknownIntent")
        key = (found[0].uid,)
        (data,) = connection.execute("SELECT data FROM volumes WHERE uid = ?", key).fetchone()
        history = connection.execute(select(Transition, "volume_transitions", "WHERE uid = ? ORDER BY at, rowid"), key)
        return VolumeDetail(found[0], msgspec.Raw(data), convert(Transition, history))
