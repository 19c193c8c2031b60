"""A serial console that several look at, which breaks and comes back; and exec and attach on it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.errors import ApiUnavailable, BridgeError, NotFound, Transient
from kubelet_bridge.kubelet_api.console.consoles import Consoles, View
from kubelet_bridge.kubelet_api.console.shared import ByteStream, ConsoleLimits, Dial
from kubelet_bridge.kubelet_api.console.shells import is_interactive_shell
from kubelet_bridge.kubelet_api.console.viewer import Scrollback, Viewer
from kubelet_bridge.kubelet_api.console.workload import ConsoleWorkload
from kubelet_bridge.kubelet_api.ports import Ended
from tests.support.guests import running, soon


class Line:
    """A session: what the guest shows, and what was typed."""

    def __init__(self) -> None:
        self.shown: asyncio.Queue[bytes] = asyncio.Queue()
        self.typed: list[bytes] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.broken = False
        self.closed = False

    async def receive(self) -> bytes:
        data = await self.shown.get()
        if self.broken:
            raise ConnectionResetError("broken")
        return data

    async def send(self, data: bytes) -> None:
        await self.takes.wait()
        if self.broken:
            raise ConnectionResetError("broken")
        self.typed.append(data)

    def break_(self) -> None:
        self.broken = True
        self.shown.put_nowait(b"")


class Guest:
    """Whoever is dialled."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.dialled = 0
        self.refuse: BridgeError | None = None

    def dial(self, namespace: str, vm: str) -> Dial:
        assert (namespace, vm) == ("ns", "vm")
        return self._dial

    @asynccontextmanager
    async def _dial(self) -> AsyncIterator[ByteStream]:
        self.dialled += 1
        if self.refuse is not None:
            raise self.refuse
        line = Line()
        self.lines.append(line)
        try:
            yield line
        finally:
            line.closed = True


QUICK = ConsoleLimits(scrollback=16, behind=64, lost_after=0.2, again=(0.01, 0.02))


@pytest.fixture
def guest() -> Guest:
    return Guest()


@pytest.fixture
async def consoles(guest: Guest) -> AsyncIterator[Consoles]:
    one = Consoles(guest.dial, QUICK)
    async with running(one.run()):
        await asyncio.sleep(0)
        yield one


def view(consoles: Consoles) -> AbstractAsyncContextManager[View]:
    return consoles.view("ns", "vm")


async def test_all_see_the_same_and_one_session_serves_them(guest: Guest, consoles: Consoles) -> None:
    async with view(consoles) as first, view(consoles) as second:
        guest.lines[0].shown.put_nowait(b"login: ")
        assert await first.read() == b"login: "
        assert await second.read() == b"login: "
        await first.write(b"root\r")
        await second.write(b"secret\r")
        assert guest.lines[0].typed == [b"root\r", b"secret\r"]
    assert len(guest.lines) == 1
    assert len(consoles) == 0
    await soon(lambda: guest.lines[0].closed, "the session is closed after the last")


async def test_who_comes_late_sees_what_was_shown_lately(guest: Guest, consoles: Consoles) -> None:
    async with view(consoles) as first:
        for piece in (b"a line that is too long to be kept\r\n", b"login: "):
            guest.lines[0].shown.put_nowait(piece)
            await first.read()
        async with view(consoles) as second:
            assert await second.read() == b"be kept\r\nlogin: "
    async with view(consoles) as third:  # a new session, a new screen
        guest.lines[1].shown.put_nowait(b"x")
        assert await third.read() == b"x"


async def test_who_is_slow_misses_some_and_holds_up_nobody(guest: Guest, consoles: Consoles) -> None:
    async with view(consoles) as quick, view(consoles) as slow:
        for number in range(20):
            guest.lines[0].shown.put_nowait(b"%010d" % number)
            assert await quick.read() == b"%010d" % number
        assert await slow.read() == b"\r\n[140 bytes of output were skipped]\r\n" + b"".join(
            b"%010d" % number for number in range(14, 20)
        )


async def test_a_session_that_breaks_is_made_again(guest: Guest, consoles: Consoles) -> None:
    async with view(consoles) as one:
        guest.lines[0].break_()
        await soon(lambda: len(guest.lines) == 2, "another session")
        guest.lines[1].shown.put_nowait(b"")  # and one that ends
        await soon(lambda: len(guest.lines) == 3, "one more")
        guest.lines[2].shown.put_nowait(b"here again")
        assert await one.read() == b"here again"
        await one.write(b"x")
        assert guest.lines[2].typed == [b"x"]
    await soon(lambda: all(line.closed for line in guest.lines), "all are closed")


async def test_what_cannot_be_reached_is_an_error_at_once(guest: Guest, consoles: Consoles) -> None:
    guest.refuse = NotFound(404, "NotFound", "no such machine")
    with pytest.raises(NotFound):
        async with view(consoles):
            pass
    assert (guest.dialled, len(consoles)) == (1, 0)
    guest.refuse = None
    async with view(consoles):
        pass


async def test_what_stays_away_is_lost(guest: Guest, consoles: Consoles) -> None:
    async with view(consoles) as one:
        guest.refuse = ApiUnavailable(0, "Unreachable", "away")
        guest.lines[0].shown.put_nowait(b"last words")
        guest.lines[0].shown.put_nowait(b"")
        await soon(lambda: guest.dialled > 3, "it is tried again")
        assert await one.read() == b"last words"
        with pytest.raises(ApiUnavailable):
            await one.read()
        with pytest.raises(ApiUnavailable):
            await one.write(b"x")
        guest.refuse = None
        async with view(consoles) as another:
            await another.write(b"y")
    assert guest.lines[1].typed == [b"y"]


async def test_a_line_that_takes_nothing_holds_up_only_those_who_type(guest: Guest, consoles: Consoles) -> None:
    async with view(consoles) as one:
        guest.lines[0].takes.clear()
        async with running(one.write(b"x")):
            guest.lines[0].shown.put_nowait(b"still shown")
            assert await one.read() == b"still shown"
            guest.lines[0].takes.set()
            await soon(lambda: guest.lines[0].typed == [b"x"], "it was typed")


async def test_nobody_looks_before_or_after_the_bridge_runs(guest: Guest) -> None:
    consoles = Consoles(guest.dial, QUICK)
    with pytest.raises(Transient, match="stopped"):
        async with view(consoles):
            pass
    async with running(consoles.run()):
        await asyncio.sleep(0)
        async with view(consoles):
            pass
    with pytest.raises(Transient, match="stopped"):
        async with view(consoles):
            pass


def workload(consoles: Consoles, why: str = "it is being updated") -> ConsoleWorkload:
    return ConsoleWorkload(lambda: view(consoles), why)


async def test_attach_is_the_console_until_it_is_left(guest: Guest, consoles: Consoles) -> None:
    async with workload(consoles).attach(stdin=True) as process:
        notice = await process.read()
        assert notice is not None
        assert b"^]" in notice.data
        process.resize(80, 24)
        await process.write(b"pasted \x1d and more")
        guest.lines[0].shown.put_nowait(b"$ ")
        shown = await process.read()
        assert shown is not None
        assert shown.data == b"$ "
        await process.close_stdin()
        await process.write(b"\x1d")
        assert await process.read() is None
        assert await process.result() == Ended()
    assert guest.lines[0].typed == [b"pasted \x1d and more"]


async def test_a_terminal_that_sends_lines_can_leave_as_well(guest: Guest, consoles: Consoles) -> None:
    async with workload(consoles).attach(stdin=True) as process:
        await process.read()
        await process.write(b"\r\n")
        await process.write(b"\x1d\n")
        assert await process.read() is None
    assert guest.lines[0].typed == [b"\r\n"]


async def test_who_only_watches_is_shown_no_notice(guest: Guest, consoles: Consoles) -> None:
    async with workload(consoles).attach(stdin=False) as process:
        guest.lines[0].shown.put_nowait(b"booting")
        shown = await process.read()
        assert shown is not None
        assert shown.data == b"booting"


async def test_a_lost_console_is_an_error(guest: Guest, consoles: Consoles) -> None:
    async with workload(consoles).attach(stdin=False) as process:
        guest.refuse = NotFound(404, "NotFound", "no such machine")
        guest.lines[0].break_()
        assert await process.read() is None
        assert "lost: no such machine" in (await process.result()).error


async def test_a_shell_is_the_console_with_a_notice(guest: Guest, consoles: Consoles) -> None:
    async with workload(consoles).exec(["/bin/bash", "-l"], stdin=True, tty=True) as process:
        notice = await process.read()
        assert notice is not None
        assert notice.data.startswith(b"Without the agent in the virtual machine (it is being updated)")
    assert guest.dialled == 1


@pytest.mark.parametrize(
    ("command", "stdin", "tty"),
    [
        (["sh"], True, False),
        (["sh"], False, True),
        (["ls"], True, True),
        (["sh", "-c", "reboot"], True, True),
        ([], True, True),
    ],
)
async def test_anything_else_names_what_is_missing(
    guest: Guest, consoles: Consoles, command: list[str], stdin: bool, tty: bool
) -> None:
    with pytest.raises(Transient) as refused:
        async with workload(consoles).exec(command, stdin=stdin, tty=tty):
            pass
    assert refused.value.message == (
        "exec needs the agent in the virtual machine (it is being updated); `kubectl attach` gives the serial console"
    )
    assert guest.dialled == 0


@pytest.mark.parametrize(
    ("command", "is_one"),
    [
        (["sh"], True),
        (["/usr/bin/zsh", "-il"], True),
        (["sh", "-c", "command -v bash >/dev/null && exec bash || exec sh"], True),
        (["sh", "-c", "clear; (bash || ash || sh)"], True),
        (["sh", "-c", "TERM=xterm-256color; export TERM; [ -x /bin/bash ] && exec bash || exec sh"], False),
        (["bash", "script.sh"], False),
        (["sh", "-c", "bash -c reboot"], False),
        (["python3"], False),
    ],
)
def test_a_shell_to_type_in_is_told_from_a_command(command: list[str], is_one: bool) -> None:
    assert is_interactive_shell(command) is is_one


@given(st.lists(st.binary(min_size=1), max_size=30), st.integers(1, 50))
def test_the_scrollback_is_the_end_of_what_was_shown(pieces: list[bytes], limit: int) -> None:
    kept = Scrollback(limit)
    for piece in pieces:
        kept.add(piece)
    assert kept.content == b"".join(pieces)[-limit:]


@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=50), st.integers(20, 100))
async def test_a_viewer_has_the_newest_and_never_more_than_his_share(pieces: list[bytes], limit: int) -> None:
    viewer = Viewer(limit)
    for piece in pieces:
        viewer.show(piece)
        assert viewer._size <= limit
    shown, whole = await viewer.read(), b"".join(pieces)
    assert shown == whole or (
        b"bytes of output were skipped" in shown and whole.endswith(shown.rpartition(b"]\r\n")[2])
    )
