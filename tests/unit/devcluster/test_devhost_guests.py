"""Scripted guests, their journey between hosts, and who may stop them."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from kubelet_bridge.devcluster.devhost.domains import Domains
from kubelet_bridge.devcluster.devhost.runtime import ByteStream, Exit, Guest, GuestSpec, GuestState
from kubelet_bridge.devcluster.devhost.scripted import ScriptedRuntime, Timings
from kubelet_bridge.errors import Transient

SPEC = GuestSpec(uid="u1", namespace="shop", name="web", hostname="web", address="10.0.0.20", vmi=b"{}")
SOON = 0.01


class _Host:
    """Collects what guests tell, and wakes whoever waits for it."""

    def __init__(self) -> None:
        self.told: list[GuestState] = []
        self._news = asyncio.Event()

    def changed(self, guest: Guest) -> None:
        self.told.append(guest.state)
        self._news.set()

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        raise AssertionError(f"a scripted guest reads no Secret, not even {namespace}/{name}")

    async def until(self, wanted: Callable[[GuestState], bool]) -> None:
        while not (self.told and wanted(self.told[-1])):
            self._news.clear()
            await self._news.wait()


def _seen(guest: Guest) -> tuple[bool, bool, bool]:
    """Whether it runs, is paused, has booted."""
    return guest.state.running, guest.state.paused, guest.state.booted


async def _lines(stream: ByteStream, last: bytes) -> bytes:
    heard = b""
    while last not in heard:
        piece = await stream.read()
        assert piece, heard
        heard += piece
    return heard


async def test_phases_in_order() -> None:
    host = _Host()
    guest = await ScriptedRuntime(Timings(SOON, SOON, SOON), host).start(SPEC)
    assert not guest.state.running
    await host.until(lambda state: state.running)
    console = await guest.console()
    await host.until(lambda state: state.booted)
    assert b"web login: " in await _lines(console, b"login: ")
    await guest.shutdown()
    await host.until(lambda state: state.exit is not None)
    assert guest.state.exit is Exit.SHUTDOWN
    assert await console.read() == b""
    assert await (await guest.console()).read() == b""


async def test_without_delays_it_is_up_at_once() -> None:
    guest = await ScriptedRuntime(Timings(), _Host()).start(SPEC)
    assert guest.state.running
    assert guest.state.booted
    assert (await guest.info()).hostname == "web"


async def test_one_started_paused_boots_when_it_may() -> None:
    paused = GuestSpec(**{field: getattr(SPEC, field) for field in SPEC.__struct_fields__} | {"paused": True})
    guest = await ScriptedRuntime(Timings(), _Host()).start(paused)
    assert _seen(guest) == (True, True, False)
    await guest.unpause()
    assert _seen(guest) == (True, False, True)


@pytest.mark.parametrize(("typed", "reason"), [("poweroff", Exit.SHUTDOWN), ("panic", Exit.CRASHED), ("reboot", None)])
async def test_wishes_at_the_console(typed: str, reason: Exit | None) -> None:
    guest = await ScriptedRuntime(Timings(), _Host()).start(SPEC)
    console = await guest.console()
    for line in ("root\r", "x\r", f"{typed}\r"):
        await console.write(line.encode())
    assert guest.state.exit is reason
    if reason is None:
        assert b"SeaBIOS" in await _lines(console, b"web login: ")


async def test_a_paused_guest_hears_nothing() -> None:
    guest = await ScriptedRuntime(Timings(), _Host()).start(SPEC)
    first, second = await guest.console(), await guest.console()
    await guest.pause()
    await first.write(b"root\r")
    await guest.unpause()
    await first.write(b"x")
    assert await first.read() == b"x" == await second.read()
    await first.close()
    assert await first.read() == b""
    await guest.kill()


async def test_freezing_thaws_by_itself() -> None:
    host = _Host()
    guest = await ScriptedRuntime(Timings(), host).start(SPEC)
    await guest.freeze(SOON)
    assert guest.state.frozen
    await host.until(lambda state: not state.frozen)
    await guest.freeze(0)
    await guest.thaw()
    assert not guest.state.frozen


async def test_a_journey_keeps_the_guest() -> None:
    source_host, target_host = _Host(), _Host()
    source = await ScriptedRuntime(Timings(migrate=0), source_host).start(SPEC)
    target = await ScriptedRuntime(Timings(), target_host).receive(SPEC, "127.0.0.1", "secret")
    await source.pause()
    assert _seen(target) == (False, False, False)
    await source.migrate("127.0.0.1", target.migration_ports, "secret")
    assert source.state.exit is Exit.MIGRATED
    assert target.state.started_at == source.state.started_at
    assert _seen(target) == (True, True, True)


async def test_a_journey_to_nowhere_leaves_it_running() -> None:
    source = await ScriptedRuntime(Timings(migrate=0), _Host()).start(SPEC)
    target = await ScriptedRuntime(Timings(), _Host()).receive(SPEC, "127.0.0.1", "secret")
    with pytest.raises(Transient, match="did not take"):
        await source.migrate("127.0.0.1", target.migration_ports, "wrong")
    await target.kill()
    with pytest.raises(Transient, match="sending the guest"):
        await source.migrate("127.0.0.1", target.migration_ports, "secret")
    assert source.state.running
    await source.kill()
    with pytest.raises(Transient, match="ended during"):
        await source.migrate("127.0.0.1", {"1": 0}, "secret")


class _Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


async def test_stopping_ends_by_force() -> None:
    clock, hangs = _Clock(), [True]
    domains = Domains(clock, lambda _: hangs[0])
    ended: list[str] = []
    stopping: list[str] = []
    domains.subscribe(ended=ended.append, stopping=lambda domain: stopping.append(domain.launcher))
    domain = domains.add(await ScriptedRuntime(Timings(), _Host()).start(SPEC), "launcher")
    assert await domains.enforce(domain) is None
    await domains.stop(domain, 30)
    await domains.stop(domain, 60)
    await domains.stop(domain, 10)
    assert await domains.enforce(domain) == 10
    clock.now += timedelta(seconds=11)
    assert await domains.enforce(domain) is None
    assert domain.guest.state.exit is Exit.DESTROYED
    domains.forget(domain)
    assert (stopping, ended, domains.get("u1"), domains.has_ended("launcher")) == (
        ["launcher"],
        ["launcher"],
        None,
        True,
    )
    domains.launcher_gone("launcher")
    assert not domains.has_ended("launcher")


async def test_no_grace_is_no_grace() -> None:
    domains = Domains(_Clock(), lambda _: False)
    domain = domains.add(await ScriptedRuntime(Timings(shutdown=60), _Host()).start(SPEC), "launcher")
    await domains.stop(domain, 0)
    await domains.enforce(domain)
    assert domain.guest.state.exit is Exit.DESTROYED
    assert domain.stop is not None
    assert not domain.stop.graceful
