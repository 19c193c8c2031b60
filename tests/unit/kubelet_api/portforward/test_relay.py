"""One forwarded connection, whichever side ends or breaks first."""

import asyncio
from collections.abc import Callable

import pytest

from kubelet_bridge.errors import Transient
from kubelet_bridge.kubelet_api.audit import Transfer
from kubelet_bridge.kubelet_api.portforward.relay import Relay


class Side:
    """Gives ``says`` one after the other, and then an end, an error, or nothing at all."""

    def __init__(self, *says: bytes, then: Exception | None = None, ends: bool = True, refuses: bool = False) -> None:
        self.says, self.then, self.ends, self.refuses = list(says), then, ends, refuses
        self.heard: list[bytes] = []
        self.told_end = asyncio.Event()
        self.may_speak = asyncio.Event()
        self.may_speak.set()

    async def read(self) -> bytes:
        await self.may_speak.wait()
        if self.says:
            return self.says.pop(0)
        if self.then is not None:
            raise self.then
        if not self.ends:
            await asyncio.Event().wait()
        return b""

    async def write(self, data: bytes) -> None:
        if self.refuses:
            raise Transient("broken pipe", reason="Broken")
        self.heard.append(data)

    async def write_eof(self) -> None:
        await self.write(b"")

    async def guest_ended(self) -> None:
        self.told_end.set()


async def relayed(client: Side, guest: Side, *, patience: float = 60.0) -> Transfer:
    transfer = Transfer()
    await Relay(client, guest, transfer, patience).run()
    return transfer


async def test_all_goes_both_ways_and_is_counted() -> None:
    client, guest = Side(b"ab", b"c"), Side(b"12345", b"6")
    transfer = await relayed(client, guest)
    assert guest.heard == [b"ab", b"c", b""]
    assert client.heard == [b"12345", b"6"]
    assert (transfer.received, transfer.sent) == (3, 6)
    assert client.told_end.is_set()


@pytest.mark.parametrize(
    "sides",
    [
        lambda error: (Side(b"x", then=error), Side(ends=False)),
        lambda error: (Side(ends=False), Side(b"x", then=error)),
        lambda error: (Side(then=error), Side(then=error)),
    ],
)
async def test_what_breaks_is_told_as_it_is(sides: Callable[[Exception], tuple[Side, Side]]) -> None:
    error = Transient("it broke", reason="Broken")
    with pytest.raises(Transient) as broken:
        await relayed(*sides(error))
    assert broken.value is error


async def test_a_guest_that_takes_no_more_is_an_error_before_it_has_ended() -> None:
    with pytest.raises(Transient, match="broken pipe"):
        await relayed(Side(b"data"), Side(ends=False, refuses=True))


@pytest.mark.parametrize("says", [(), (b"late",)])
async def test_a_guest_that_takes_no_more_after_its_end_has_closed(says: tuple[bytes, ...]) -> None:
    client = Side(*says)
    client.may_speak = client.told_end
    transfer = await relayed(client, Side(b"bye", refuses=True))
    assert (client.heard, transfer.sent) == ([b"bye"], 3)


async def test_a_client_that_says_nothing_after_the_end_is_not_waited_for_long() -> None:
    client = Side(b"before", ends=False)
    guest = Side(b"bye")
    await relayed(client, guest, patience=0.01)
    assert client.heard == [b"bye"]


async def test_a_client_that_goes_on_after_the_end_is_waited_for() -> None:
    client, guest = Side(ends=False), Side()

    async def talk() -> None:
        await client.told_end.wait()
        for _ in range(3):
            client.says.append(b"more")
        client.ends = True
        client.may_speak.set()

    client.may_speak.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(talk())
        await relayed(client, guest)
    assert guest.heard == [b"more", b"more", b"more", b""]


async def test_who_is_cancelled_leaves_no_task() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await relayed(Side(ends=False), Side(ends=False))
