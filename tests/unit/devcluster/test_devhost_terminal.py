"""The scripted guest's serial line and screen, and Go's durations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.devcluster.devhost.duration import seconds
from kubelet_bridge.devcluster.devhost.rfb import RfbServer
from kubelet_bridge.devcluster.devhost.terminal import Terminal, Wish, boot_lines


def _type(terminal: Terminal, *lines: str) -> tuple[str, list[Wish]]:
    shown, wishes = b"", list[Wish]()
    for line in lines:
        output, more = terminal.feed(line.encode())
        shown += output
        wishes += more
    return shown.decode(), wishes


def test_a_session() -> None:
    terminal = Terminal("web")
    assert terminal.banner().endswith(b"web login: ")
    shown, wishes = _type(terminal, "root\r", "secret\r", "echo a b\r", "hostname\n", "ls\r\n", "exit\r")
    assert "secret" not in shown
    for said in ("Password: ", "root@web:~$ ", "a b\r\n", "\r\nweb\r\n", "-sh: ls: not found", "web login: "):
        assert said in shown
    assert wishes == []


def test_editing() -> None:
    shown, _ = _type(Terminal("web"), "u\r", "p\r", "ecx\x7fho hi\r", "junk\x03", "\x04")
    assert "ecx\b \bho hi\r\nhi" in shown
    assert shown.endswith("web login: ")


@pytest.mark.parametrize("wish", list(Wish))
def test_wishes_are_for_those_who_are_logged_in(wish: Wish) -> None:
    terminal = Terminal("web")
    assert _type(terminal, f"{wish}\r", "\r")[1] == []
    assert _type(terminal, f"{wish}\r")[1] == [wish]


@given(st.lists(st.binary(max_size=5)))
def test_how_the_keys_are_cut_up_does_not_matter(pieces: list[bytes]) -> None:
    cut, whole = Terminal("web"), Terminal("web")
    found = [cut.feed(piece) for piece in pieces]
    shown, wishes = whole.feed(b"".join(pieces))
    assert b"".join(output for output, _ in found) == shown
    assert [wish for _, some in found for wish in some] == wishes


def test_booting_says_who_boots() -> None:
    assert b"Hostname set to <web>" in b"".join(boot_lines("web"))


def test_a_screen() -> None:
    server = RfbServer("web")
    assert server.greeting == b"RFB 003.008\n"
    assert server.feed(b"RFB 003.0") == b""
    assert server.feed(b"08\n") == b"\x01\x01"
    assert server.feed(b"\x01") == b"\x00\x00\x00\x00"
    assert server.feed(b"\x01").endswith(b"\x00\x00\x00\x03web")
    encodings, key = b"\x02\x00\x00\x01\x00\x00\x00\x00", b"\x04\x01\x00\x00\x00\x00\x00\x61"
    full = b"\x03\x00\x00\x00\x00\x00\x00\x20\x00\x20"
    picture = server.feed(encodings + key + full)
    assert len(picture) == 16 + 32 * 32 * 4
    assert server.feed(b"\x03\x01" + full[2:]) == b""
    with pytest.raises(ValueError, match="99"):
        server.feed(b"\x63")


def test_durations() -> None:
    assert [seconds(text) for text in ("0", "30s", "1m30s", "1h0m0s", "250ms", "1.5s")] == [0, 30, 90, 3600, 0.25, 1.5]
    for wrong in ("", "30", "s", "1d", "1s!"):
        with pytest.raises(ValueError, match="is no duration"):
            seconds(wrong)
