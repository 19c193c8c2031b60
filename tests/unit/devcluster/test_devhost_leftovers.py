"""Guests of an earlier process: ended once their instances have no use for them, and never another's."""

from collections.abc import Collection
from typing import cast

import pytest

from kubelet_bridge.devcluster.devhost.domains import Key
from kubelet_bridge.devcluster.devhost.leftovers import Leftovers
from kubelet_bridge.devcluster.devhost.runtime import GuestRuntime
from kubelet_bridge.devcluster.devhost.vmiclient import VmiClient

KEYS: dict[str, Key] = {"u1": ("default", "one"), "u2": ("default", "two"), "u3": ("default", "two")}


class Host:
    """What runs, and what the caches know."""

    def __init__(self) -> None:
        self.running = {"u1", "u2", "u3", "nobody's"}
        self.known = dict(KEYS)

    async def retain(self, uids: Collection[str]) -> None:
        self.running &= set(uids)

    def unfinished(self) -> dict[str, Key]:
        return dict(self.known)


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
async def leftovers(host: Host) -> Leftovers:
    one = Leftovers(cast(GuestRuntime, host), cast(VmiClient, host))
    await one.begin()
    return one


async def test_what_belongs_to_nobody_ends_at_once(host: Host, leftovers: Leftovers) -> None:
    assert host.running == {"u1", "u2", "u3"}
    assert leftovers.has(("default", "one"))
    assert not leftovers.has(("default", "three"))


async def test_one_without_a_launcher_ends_though_its_instance_is_still_there(host: Host, leftovers: Leftovers) -> None:
    await leftovers.end("u1")
    assert host.running == {"u2", "u3"}


async def test_one_whose_instance_has_gone_ends(host: Host, leftovers: Leftovers) -> None:
    del host.known["u2"]
    await leftovers.end_all(("default", "two"), but="u3")
    assert host.running == {"u1", "u3"}


async def test_one_that_was_found_is_its_domains(host: Host, leftovers: Leftovers) -> None:
    leftovers.found("u1")
    await leftovers.end("u1")
    await leftovers.end_all(("default", "one"), but="")
    assert host.running == {"u1", "u2", "u3"}
    assert not leftovers.has(("default", "one"))


async def test_what_has_begun_since_is_nobodys_leftover(host: Host, leftovers: Leftovers) -> None:
    host.known["u4"], host.running = ("default", "one"), host.running | {"u4"}
    await leftovers.end("u1")
    await leftovers.end("u4")
    assert host.running == {"u2", "u3", "u4"}
