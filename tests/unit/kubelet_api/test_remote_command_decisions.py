"""What exec and attach decide, without a connection: streams, status, channels, sizes."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.kubelet_api.ports import Ended
from kubelet_bridge.kubelet_api.remotecommand.channels import (
    Channel,
    ChannelError,
    ChannelMessage,
    Subprotocol,
    chosen,
    decode,
    encode,
    first_channel,
)
from kubelet_bridge.kubelet_api.remotecommand.status import status_json, status_text
from kubelet_bridge.kubelet_api.remotecommand.terminalsizes import TerminalSize, TerminalSizes
from kubelet_bridge.kubelet_api.remotecommand.wants import NoStreams, Wants, wanted

PROTOCOLS = st.sampled_from(list(Subprotocol))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"input": "1", "output": "1", "error": "1"}, Wants(stdin=True, stdout=True, stderr=True)),
        ({"output": "1", "error": "1", "tty": "1"}, Wants(stdout=True, tty=True)),
        ({"input": "1", "output": "true", "error": "0"}, Wants(stdin=True)),
        ({"error": "1"}, Wants(stderr=True)),
    ],
)
def test_the_query_says_which_streams(query: dict[str, str], expected: Wants) -> None:
    assert wanted(query) == expected


@pytest.mark.parametrize(
    "query", [{}, {"tty": "1"}, {"error": "1", "tty": "1"}, {"stdin": "true", "stdout": "1", "output": "yes"}]
)
def test_no_streams_at_all_are_refused(query: dict[str, str]) -> None:
    with pytest.raises(NoStreams, match="you must specify at least 1 of stdin, stdout, stderr"):
        wanted(query)


def test_success_is_a_status_or_silence() -> None:
    assert json.loads(status_json(Ended())) == {"metadata": {}, "status": "Success"}
    assert status_text(Ended()) == b""


@given(st.integers(1, 255))
def test_an_exit_code_is_where_clients_look_for_it(code: int) -> None:
    status = json.loads(status_json(Ended(code)))
    assert (status["status"], status["reason"]) == ("Failure", "NonZeroExitCode")
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": str(code)}]
    assert status["message"].startswith("command terminated with non-zero exit code: ")
    assert status_text(Ended(code)).decode() == status["message"]


@pytest.mark.parametrize("code", [-1, 256, 2**40])
def test_a_code_that_no_client_can_parse_becomes_one_that_it_can(code: int) -> None:
    assert json.loads(status_json(Ended(code)))["details"]["causes"][0]["message"] == "255"


@given(st.text(min_size=1))
def test_another_error_is_internal(error: str) -> None:
    status = json.loads(status_json(Ended(error=error)))
    assert (status["status"], status["reason"], status["code"]) == ("Failure", "InternalError", 500)
    assert status["message"] == f"Internal error occurred: {error[:4096]}"


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        ([], Subprotocol.NONE),
        (["v5.channel.k8s.io", "v4.channel.k8s.io"], Subprotocol.V5),
        (["v9.channel.k8s.io", "v4.base64.channel.k8s.io", "v5.channel.k8s.io"], Subprotocol.V4_BASE64),
        (["v3.channel.k8s.io"], None),
        (["SPDY/3.1+portforward.k8s.io"], None),
    ],
)
def test_the_clients_preference_counts(offered: list[str], expected: Subprotocol | None) -> None:
    assert chosen(offered) is expected


@pytest.mark.parametrize(
    ("wants", "channel"),
    [
        (Wants(stdin=True, stdout=True, stderr=True), Channel.STDOUT),
        (Wants(stdin=True, stderr=True), Channel.STDERR),
        (Wants(stdin=True), Channel.ERROR),
    ],
)
def test_the_first_message_is_on_the_lowest_channel(wants: Wants, channel: Channel) -> None:
    assert first_channel(wants) is channel


@given(PROTOCOLS, st.sampled_from([Channel.STDIN, Channel.RESIZE]), st.binary(min_size=1))
def test_what_is_encoded_is_decoded(protocol: Subprotocol, channel: Channel, data: bytes) -> None:
    assert decode(protocol, encode(protocol, channel, data)) == ChannelMessage(channel, data)


@given(PROTOCOLS, st.sampled_from([Channel.STDOUT, Channel.STDERR, Channel.ERROR]), st.binary())
def test_clients_do_not_write_to_our_channels(protocol: Subprotocol, channel: Channel, data: bytes) -> None:
    assert decode(protocol, encode(protocol, channel, data)) is None


@given(PROTOCOLS, st.binary())
def test_garbage_is_nothing_or_an_error_of_ours(protocol: Subprotocol, message: bytes) -> None:
    try:
        said = decode(protocol, message)
    except ChannelError:
        assert protocol is Subprotocol.V5
        assert message[0] == 255
    else:
        assert said is None or said.channel in (Channel.STDIN, Channel.RESIZE) or said.closed


@pytest.mark.parametrize("protocol", [one for one in Subprotocol if one.textual])
def test_text_is_a_digit_and_base64(protocol: Subprotocol) -> None:
    assert encode(protocol, Channel.STDOUT, b"\xff\x00") == b"1" + base64.b64encode(b"\xff\x00")
    assert decode(protocol, b"0aGk\r\n=") == ChannelMessage(Channel.STDIN, b"hi")
    assert decode(protocol, b"0a") is None
    assert decode(protocol, b"\x00aGk=") is None


def test_only_version_5_can_close_a_channel() -> None:
    assert decode(Subprotocol.V5, b"\xff\x00") == ChannelMessage(Channel.STDIN, closed=True)
    assert decode(Subprotocol.V4, b"\xff\x00") is None
    assert decode(Subprotocol.NONE, b"\xff\x00") is None


@pytest.mark.parametrize("message", [b"\xff", b"\xff\x05", b"\xff\xff", b"\xff\x00\x00"])
def test_a_close_of_nothing_ends_the_connection(message: bytes) -> None:
    with pytest.raises(ChannelError):
        decode(Subprotocol.V5, message)


@given(st.lists(st.tuples(st.integers(1, 65535), st.integers(1, 65535)), min_size=1), st.data())
def test_sizes_may_come_in_any_pieces(sizes: list[tuple[int, int]], data: st.DataObject) -> None:
    stream = b"\n".join(json.dumps({"Width": width, "Height": height}).encode() for width, height in sizes)
    found, taken = TerminalSizes(), []
    while stream:
        cut = data.draw(st.integers(1, 40))
        taken.append(found.feed(stream[:cut]))
        stream = stream[cut:]
    seen = [one for one in taken if one is not None]
    assert seen[-1] == TerminalSize(*sizes[-1])
    assert set(seen) <= {TerminalSize(*one) for one in sizes}


@given(st.lists(st.binary()))
def test_any_bytes_are_taken_and_few_are_kept(pieces: list[bytes]) -> None:
    sizes = TerminalSizes()
    for piece in pieces:
        sizes.feed(piece)
        assert len(sizes._rest) <= 1024


@pytest.mark.parametrize(
    "said",
    [b'{"Width":0,"Height":5}', b'{"Width":70000,"Height":5}', b'{"Width":"1","Height":5}', b"{}", b'{"Width":true}',
     b"[" * 5000, b"{" * 5000, b'{"a":' * 100_000, b"\xff\xfe", b"null"],
)  # fmt: skip
def test_what_is_no_size_is_none(said: bytes) -> None:
    assert TerminalSizes().feed(said) is None


def test_a_flood_of_sizes_is_not_read() -> None:
    assert TerminalSizes().feed(b'{"Width":80,"Height":24}' * 600) == TerminalSize(80, 24)
    assert TerminalSizes().feed(b'{"Width":80,"Height":24}' * 1_000_000) is None


def test_a_stream_that_is_no_json_stays_ended() -> None:
    sizes = TerminalSizes()
    assert sizes.feed(b"nonsense") is None
    assert sizes.feed(b'{"Width":80,"Height":24}') is None
    assert TerminalSizes().feed(b'{"width":80,"HEIGHT":24} ') == TerminalSize(80, 24)
