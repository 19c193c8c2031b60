"""Disks survive: die at any write, see less than there is, meet whatever somebody does, and lose nothing."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubelet_bridge.errors import BridgeError
from kubelet_bridge.model.storage import PersistentVolume
from kubelet_bridge.model.volumeintent import VolumeIntent, VolumeStatus
from kubelet_bridge.model.volumesnapshot import Part
from kubelet_bridge.store.volumerebuild import rebuild_volumes
from tests.properties.simulation import Crash, Crasher
from tests.properties.storageworld import NODE, World, process

ROUNDS = 40
Act = Callable[[World], None]


def grow(world: World) -> None:
    if claim := world.claims.get("data"):
        claim["spec"]["resources"]["requests"]["storage"] = "2Gi"


def successor(world: World) -> None:
    """The claim deleted, and at once another of the same name."""
    if world.claims.pop("data", None):
        world.add_claim("data")


def _behind(world: World) -> str | None:
    return next((name for name in world.datavolumes), None)


def strip(world: World) -> None:
    for volume in world.volumes.values():
        volume["metadata"]["labels"] = {}
        if "deletionTimestamp" not in volume["metadata"]:
            volume["metadata"]["finalizers"] = ["kubernetes.io/pv-protection"]


def keep(world: World) -> None:
    """An administrator saves the disks of a class that would delete them."""
    for volume in world.volumes.values():
        volume["spec"]["persistentVolumeReclaimPolicy"] = "Retain"


def remove_volumes(world: World) -> None:
    for volume in world.volumes.values():
        volume["metadata"]["deletionTimestamp"] = world.stamp()


HARMLESS: dict[str, Act] = {
    "nothing": lambda _: None,
    "grow": grow,
    "delete": lambda world: world.claims.pop("data", None) and None,
    "successor": successor,
    "strip": strip,
}
HARMFUL: dict[str, Act] = {
    "datavolume deleted": lambda world: (name := _behind(world)) and world.datavolumes.pop(name) and None,
    "claim behind deleted": lambda world: (name := _behind(world)) and world.claims.pop(name, None) and None,
}
SAVING: dict[str, Act] = {"keep": keep, "remove volumes": remove_volumes}
ACTS = HARMLESS | HARMFUL | SAVING


async def _drive(
    acts: list[tuple[int, str]], crashes: list[tuple[int, bool]], *, retain: bool = False,
    blind: dict[int, frozenset[Part]] | None = None,
) -> tuple[World, dict[str, VolumeIntent]]:  # fmt: skip
    """Run the corridor for some rounds; acts happen in their round, the process dies at each of the given writes."""
    world, rows = World(retain=retain), dict[str, VolumeIntent]()
    world.add_claim("data")
    todo = [Crasher(at, after=after) for at, after in crashes] + [Crasher()]
    loop, ports = process(world, rows, todo.pop(0))
    for number in range(ROUNDS):
        for when, name in acts:
            if when == number:
                ACTS[name](world)
        ports.blind = (blind or {}).get(number, frozenset())
        for key in sorted({*ports.keys(), *(one.key for one in rows.values())}):
            try:
                await loop.sync(key)
            except BridgeError:
                continue
            except Crash:
                loop, ports = process(world, rows, todo.pop(0))
        world.advance()
    return world, rows


def _outcome(world: World, rows: dict[str, VolumeIntent]) -> dict[str, Any]:
    """Without the uids that depend on the order in which things were made."""
    return {
        "claims": {name: (one["status"], one["spec"]["resources"]) for name, one in world.claims.items()},
        "volumes": {name: (one["spec"]["capacity"], one["status"]) for name, one in world.volumes.items()},
        "datavolumes": {name: one["spec"] for name, one in world.datavolumes.items()},
        "rows": {uid: (one.status, one.populated, one.lost) for uid, one in rows.items()},
    }


when = st.integers(0, 12)
crashes = st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=3)
blindness = st.dictionaries(when, st.frozensets(st.sampled_from(Part)), max_size=4)
harmless = st.lists(st.tuples(when, st.sampled_from(sorted(set(HARMLESS) - {"successor"}))), max_size=3)
anything = st.lists(st.tuples(when, st.sampled_from(sorted(HARMLESS | HARMFUL))), max_size=4)


@settings(max_examples=150)
@given(harmless, crashes, blindness, st.booleans())
async def test_any_crash_leads_to_the_same_end(
    acts: list[tuple[int, str]], crashes: list[tuple[int, bool]], blind: dict[int, frozenset[Part]], retain: bool
) -> None:
    # What a user does to a disk that is there: apart, for a disk deleted before it has grown has not grown.
    late = [(14 + 4 * turn, name) for turn, (_, name) in enumerate(sorted(acts))]
    undisturbed = _outcome(*await _drive(late, [], retain=retain))
    world, rows = await _drive(late, crashes, retain=retain, blind=blind)
    assert _outcome(world, rows) == undisturbed
    assert len(world.made) == len(set(world.made))  # one DataVolume for each claim, ever


@settings(max_examples=150)
@given(anything, crashes, blindness, st.booleans())
async def test_no_disk_twice_and_none_made_again_that_had_content(
    acts: list[tuple[int, str]], crashes: list[tuple[int, bool]], blind: dict[int, frozenset[Part]], retain: bool
) -> None:
    world, rows = await _drive(acts, crashes, retain=retain, blind=blind)
    handles = [volume["spec"]["csi"]["volumeHandle"] for volume in world.volumes.values()]
    assert len(handles) == len(set(handles))
    for row in rows.values():
        behind = world.claims.get(row.datavolume)
        if row.status is VolumeStatus.BOUND and behind is not None:  # then it is the one it always was
            assert row.backing_uid == behind["metadata"]["uid"]


@settings(max_examples=100)
@given(harmless, crashes, blindness)
async def test_nothing_a_user_may_do_loses_content_of_a_disk_to_be_kept(
    acts: list[tuple[int, str]], crashes: list[tuple[int, bool]], blind: dict[int, frozenset[Part]]
) -> None:
    world, rows = await _drive(acts, crashes, retain=True, blind=blind)
    left = {claim["metadata"]["uid"] for claim in world.claims.values()}
    assert {*world.filled} <= left
    assert all(not row.lost for row in rows.values())


@settings(max_examples=100)
@given(crashes, st.dictionaries(st.integers(14, 24), st.frozensets(st.sampled_from(Part)), max_size=4))
async def test_a_disk_that_an_administrator_keeps_is_kept(
    crashes: list[tuple[int, bool]], blind: dict[int, frozenset[Part]]
) -> None:
    acts = [(16, "keep"), (16, "delete"), (20, "remove volumes")]
    world, rows = await _drive(acts, crashes, blind=blind)
    assert world.filled
    assert {*world.filled} <= {claim["metadata"]["uid"] for claim in world.claims.values()}
    assert (world.volumes, rows) == ({}, {})


@settings(max_examples=100)
@given(anything, crashes, blindness)
async def test_a_deleted_claim_leaves_nothing(
    acts: list[tuple[int, str]], crashes: list[tuple[int, bool]], blind: dict[int, frozenset[Part]]
) -> None:
    world, rows = await _drive([*acts, (16, "delete")], crashes, blind=blind)
    assert (world.claims, world.volumes, world.datavolumes, rows) == ({}, {}, {}, {})


async def test_a_bound_claim_that_is_deleted_while_nobody_looks_is_cleaned_up() -> None:
    world, rows = await _drive([], [])
    assert [row.status for row in rows.values()] == [VolumeStatus.BOUND]
    world.claims.pop("data")
    loop, ports = process(world, rows, Crasher())
    for _ in range(8):
        world.advance()
        for row in list(rows.values()):
            await loop.sync(row.key)
    assert (world.claims, world.volumes, world.datavolumes, rows) == ({}, {}, {}, {})
    assert ports.crasher.count > 0


async def test_a_quiet_disk_is_left_alone() -> None:
    world, rows = await _drive([], [])
    writes = Crasher()
    loop, _ = process(world, rows, writes)
    (row,) = rows.values()
    assert await loop.sync(row.key) is None
    assert writes.count == 0


@pytest.mark.parametrize("retain", [False, True])
async def test_a_lost_database_loses_no_disk_and_leaves_none(retain: bool) -> None:
    world, former = await _drive([(14, "grow")], [], retain=retain)
    found = [msgspec.convert(one, PersistentVolume) for one in world.volumes.values()]
    rows = {one.uid: one for one in rebuild_volumes(found, NODE, new_id=lambda: "vol_new")}
    assert {(one.uid, one.id, one.datavolume_uid, one.backing_uid) for one in rows.values()} == {
        (one.uid, one.id, one.datavolume_uid, one.backing_uid) for one in former.values()
    }
    before = {*world.claims}, {*world.datavolumes}
    await _settle(world, rows)
    assert ({*world.claims}, {*world.datavolumes}) == before
    assert [(one.status, one.lost) for one in rows.values()] == [(VolumeStatus.BOUND, "")]
    assert [one.backing_size for one in rows.values()] > [0]
    world.claims.pop("data")
    await _settle(world, rows)
    assert len(world.datavolumes) == (1 if retain else 0)
    assert len(rows) == (1 if retain else 0)


async def _settle(world: World, rows: dict[str, VolumeIntent]) -> None:
    loop, _ = process(world, rows, Crasher())
    for _ in range(8):
        world.advance()
        for row in list(rows.values()):
            await loop.sync(row.key)
