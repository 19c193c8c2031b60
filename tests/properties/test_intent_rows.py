"""Whatever an intent holds comes back from the disk as it was."""

import tempfile
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from kubelet_bridge.model.intent import Intent, IntentStatus
from kubelet_bridge.store import rows
from kubelet_bridge.store.batch import apply
from kubelet_bridge.store.opening import FILE_NAME, open_or_replace
from tests.support.intents import NOW, intents


@given(intents)
def test_json_round_trip(intent: Intent) -> None:
    assert rows.decode(msgspec.json.encode(intent).decode()) == intent


@given(intents)
def test_fields_of_a_newer_version_are_skipped(intent: Intent) -> None:
    newer = {**msgspec.to_builtins(intent), "later": {"added": [1]}}
    assert rows.decode(msgspec.json.encode(newer).decode()) == intent


@settings(max_examples=50, deadline=None)
@given(st.lists(intents, unique_by=lambda one: (one.uid, one.id), max_size=6))
def test_disk_round_trip(made: list[Intent]) -> None:
    distinct = list({one.id: one for one in {one.uid: one for one in made}.values()}.values())
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / FILE_NAME
        opened = open_or_replace(path)
        changes = [rows.save(None, one, reason="Test", now=NOW) for one in distinct]
        applied = apply(opened.connection, changes, path=path, expected=opened.identity)
        opened.connection.close()
        opened = open_or_replace(path)
        found, unreadable = rows.decode_live(opened.connection.execute(rows.LIVE).fetchall())
        opened.connection.close()
    assert all(isinstance(outcome, int) for outcome in applied.outcomes)
    assert unreadable == []
    assert found == {one.uid: one for one in distinct if one.status is not IntentStatus.DESTROYED}
