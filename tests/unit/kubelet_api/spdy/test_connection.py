"""The server's side of a connection: what bytes mean, in any pieces, and what no bytes can do."""

import itertools
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.kubelet_api.spdy import frames
from kubelet_bridge.kubelet_api.spdy.connection import Connection
from kubelet_bridge.kubelet_api.spdy.dictionary import DICTIONARY
from kubelet_bridge.kubelet_api.spdy.events import Data, Event, Failed, GoneAway, Opened, Pinged, Refused, Reset
from kubelet_bridge.kubelet_api.spdy.frames import ControlType, GoAwayStatus, ResetStatus
from kubelet_bridge.kubelet_api.spdy.headers import HeaderDecoder, HeaderEncoder, MalformedHeaders
from kubelet_bridge.kubelet_api.spdy.limits import Limits
from tests.support import spdystream

LIMITS = Limits(streams=4, control_frame=4096, headers=8, header_bytes=2048)
ERROR = {"streamtype": "error", "port": "80", "requestid": "0"}
DATA = {"streamtype": "data", "port": "80", "requestid": "0"}


def events(*pieces: bytes, limits: Limits = LIMITS) -> list[Event]:
    connection = Connection(limits)
    return [event for piece in pieces for event in connection.receive(piece)]


def joined(found: list[Event]) -> list[Event]:
    """Pieces of one stream that follow each other are one."""
    result: list[Event] = []
    for event in found:
        last = result[-1] if result else None
        if isinstance(event, Data) and isinstance(last, Data) and last.stream_id == event.stream_id and not last.fin:
            result[-1] = Data(event.stream_id, last.data + event.data, event.fin)
        else:
            result.append(event)
    return result


def opening(number: int) -> bytes:
    encoder = HeaderEncoder()
    return b"".join(frames.syn_stream(2 * n + 1, encoder.encode(DATA)) for n in range(number))


def test_what_spdystream_writes_is_understood() -> None:
    assert events(spdystream.FORWARD) == [
        Opened(1, ERROR, fin=False),
        Data(1, b"", fin=True),
        Opened(3, DATA, fin=False),
        Data(3, spdystream.REQUEST, fin=False),
        Pinged(1),
        Data(3, b"", fin=True),
        Reset(3),
        GoneAway(),
    ]


def test_what_we_write_is_what_spdystream_writes() -> None:
    connection = Connection(LIMITS)
    assert list(connection.receive(spdystream.SYN_ERROR + spdystream.SYN_DATA))
    first = connection.reply(1)
    assert first[4:] == struct.pack(">II", len(first) - 8, 1) + first[12:]
    assert first[14:18].hex() == "e3c6a7c2", "the checksum of the preset dictionary"
    assert HeaderDecoder(8, 100).decode(first[12:]) == {}
    assert connection.data_head(3, 18) + spdystream.REQUEST == spdystream.DATA_3
    assert connection.data_head(1, 0, fin=True) == spdystream.FIN_1
    assert connection.pong(1) == spdystream.PING_1
    assert connection.reset(3) == spdystream.RST_3
    assert connection.reset(3) == b""
    assert Connection(LIMITS).goaway() == spdystream.GOAWAY


@given(st.lists(st.integers(1, len(spdystream.FORWARD) - 1), max_size=20))
def test_pieces_make_no_difference(cuts: list[int]) -> None:
    edges = [0, *sorted(set(cuts)), len(spdystream.FORWARD)]
    pieces = [spdystream.FORWARD[start:end] for start, end in itertools.pairwise(edges)]
    assert joined(events(*pieces)) == joined(events(spdystream.FORWARD))


_SOUND = st.sampled_from([
    spdystream.FIN_1, spdystream.DATA_3, spdystream.PING_1, spdystream.SETTINGS, spdystream.WINDOW_UPDATE,
    spdystream.FIN_3, spdystream.RST_3, frames.data_head(1, 3) + b"abc", frames.data_head(9, 3) + b"abc",
    frames.ping(2), frames.control(ControlType.PING, b"\0\0\0\0"), frames.control(ControlType.RST_STREAM, b""),
    frames.data_head(0, 0), b"\x80\x02\0\1\0\0\0\0", spdystream.GOAWAY,
])  # fmt: skip


@given(st.lists(_SOUND | st.binary(max_size=40), max_size=12), st.integers(1, 50))
def test_garbage_only_ends_the_connection(parts: list[bytes], step: int) -> None:
    data = spdystream.SYN_ERROR + spdystream.SYN_DATA + b"".join(parts)
    whole = events(data)
    assert not [event for event in whole[:-1] if isinstance(event, Failed | GoneAway)]
    assert joined(events(*(data[at : at + step] for at in range(0, len(data), step)))) == joined(whole)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02\x00\x01\x00\x00\x00\x00",
        frames.data_head(0, 1) + b"x",
        frames.control(ControlType.SYN_STREAM, b"\0\0\0\1\0\0\0\0\0"),
        frames.control(ControlType.SYN_STREAM, b"\0\0\0\1\0\0\0\0\0\0not zlib"),
        frames.control(ControlType.SYN_STREAM, b"\0\0\0\1\0\0\0\0\0\0"),
        frames.control(ControlType.SYN_REPLY, b"\0\0\0\1\1"),
        frames.control(ControlType.RST_STREAM, b"\0\0"),
        frames.control(ControlType.PING, b""),
        frames.ping(0),
        struct.pack(">II", 0x80030001, 4097),
    ],
)
def test_what_cannot_be_is_a_protocol_error(data: bytes) -> None:
    (failed,) = events(data[:5], data[5:], b"more", spdystream.SYN_ERROR)
    assert isinstance(failed, Failed)
    assert failed.status is GoAwayStatus.PROTOCOL_ERROR


@pytest.mark.parametrize("stream_id", [0, 1, 2, 3, 4, 1 << 31 | 5])
def test_stream_ids_are_odd_and_ascend(stream_id: int) -> None:
    encoder = HeaderEncoder()
    data = frames.syn_stream(3, encoder.encode(DATA)) + frames.syn_stream(stream_id, encoder.encode(DATA))
    opened, failed = events(data)
    assert opened == Opened(3, DATA, fin=False)
    assert isinstance(failed, Failed)


def test_one_stream_too_many_is_refused_until_another_ends() -> None:
    connection = Connection(LIMITS)
    encoder = HeaderEncoder()
    found = list(connection.receive(opening(5)))
    assert found[4] == Refused(9)
    assert connection.refuse(9) == frames.rst_stream(9, ResetStatus.REFUSED_STREAM)
    connection = Connection(LIMITS)
    for number in range(100):
        data = frames.syn_stream(2 * number + 1, encoder.encode(DATA)) + frames.data_head(2 * number + 1, 0, fin=True)
        opened, ended = connection.receive(data)
        assert isinstance(opened, Opened)
        assert ended == Data(opened.stream_id, b"", fin=True)
        connection.data_head(opened.stream_id, 0, fin=True)
        assert not connection.is_open(opened.stream_id)


@pytest.mark.parametrize("client_first", [True, False])
def test_a_stream_is_over_when_both_halves_are(client_first: bool) -> None:
    connection = Connection(LIMITS)
    assert list(connection.receive(opening(1)))
    for theirs in (client_first, not client_first):
        assert connection.is_open(1)
        if theirs:
            assert list(connection.receive(spdystream.FIN_1)) == [Data(1, b"", fin=True)]
        else:
            assert connection.data_head(1, 0, fin=True) == spdystream.FIN_1
    assert not connection.is_open(1)


def test_headers_and_replies_are_decoded_and_may_end_a_half() -> None:
    encoder = HeaderEncoder()
    frame = frames.syn_stream(1, encoder.encode(DATA))
    more = b"\0\0\0\1" + encoder.encode({"a": "b"})
    found = events(frame, frames.control(ControlType.HEADERS, more), frames.syn_reply(7, encoder.encode({})))
    assert found == [Opened(1, DATA, fin=False)]
    last = b"\0\0\0\1" + encoder.encode({"a": "b"})
    assert isinstance(events(frames.control(ControlType.HEADERS, last))[0], Failed), "it leans on what was before"
    encoder = HeaderEncoder()
    frame = frames.syn_stream(1, encoder.encode(DATA))
    last = b"\0\0\0\1" + encoder.encode({"a": "b"})
    assert events(frame, frames.control(ControlType.HEADERS, last, frames.FIN))[1:] == [Data(1, b"", fin=True)]


def test_data_of_streams_that_are_not_open_is_dropped() -> None:
    assert events(spdystream.DATA_3, spdystream.RST_3, spdystream.PING_1) == [Pinged(1)]
    late = spdystream.SYN_ERROR + spdystream.FIN_1 + frames.data_head(1, 4) + b"late" + spdystream.FIN_1
    assert events(late)[1:] == [Data(1, b"", fin=True)]
    connection = Connection(LIMITS)
    assert list(connection.receive(opening(1)))
    connection.reset(1)
    assert list(connection.receive(frames.data_head(1, 4) + b"late")) == []


def test_pings_of_ours_are_not_sent_back() -> None:
    connection = Connection(LIMITS)
    assert connection.ping() == frames.ping(2)
    assert list(connection.receive(frames.ping(2))) == []
    assert connection.ping() == frames.ping(4)


def test_frames_nobody_knows_are_skipped_whatever_their_size() -> None:
    unknown = struct.pack(">II", 0x80030042, 1 << 20)
    found = events(unknown, *[bytes(1 << 16)] * 16, spdystream.PING_1)
    assert found == [Pinged(1)]


def test_consecutive_data_is_one_event() -> None:
    data = b"".join(frames.data_head(1, 3) + b"abc" for _ in range(100)) + frames.data_head(3, 1) + b"x"
    assert events(opening(2) + data)[2:] == [Data(1, b"abc" * 100, fin=False), Data(3, b"x", fin=False)]


@given(st.binary(max_size=300), st.integers(0, 200))
def test_mutated_frames_never_raise(noise: bytes, at: int) -> None:
    events(spdystream.FORWARD[:at] + noise + spdystream.FORWARD[at:])


# Header blocks


_VALUES = st.text(st.characters(max_codepoint=255, blacklist_characters="\0"), max_size=30)
_NAMES = st.text("abcdefghijklmnopqrstuvwxyz-0123456789", min_size=1, max_size=20)


@given(st.lists(st.dictionaries(_NAMES, _VALUES, max_size=8), max_size=5))
def test_headers_survive_the_way(blocks: list[dict[str, str]]) -> None:
    encoder, decoder = HeaderEncoder(), HeaderDecoder(8, 2048)
    assert [decoder.decode(encoder.encode(block)) for block in blocks] == blocks


def test_of_several_values_the_first_counts() -> None:
    connection = Connection(LIMITS)
    assert list(connection.receive(spdystream.SYN_ERROR + spdystream.SYN_DATA))
    decoder = HeaderDecoder(8, 2048)
    for frame in (spdystream.SYN_ERROR, spdystream.SYN_DATA):
        decoder.decode(frame[18:])
    assert decoder.decode(spdystream.HEADERS_3[12:]) == {"a": "1"}


def _block(plain: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, 15, 8, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    return deflate.compress(plain) + deflate.flush(zlib.Z_SYNC_FLUSH)


def _header(name: bytes, value: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(one)) + one for one in (name, value))


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"\0\0\0",
        b"\0\0\0\1",
        b"\0\0\0\0x",
        b"\0\0\0\1" + _header(b"", b"x"),
        b"\0\0\0\1" + _header(b"Name", b"x"),
        b"\0\0\0\2" + _header(b"a", b"x") * 2,
        b"\0\0\0\1" + _header(b"a", b"x")[:-1],
        b"\0\0\0\1\xff\xff\xff\xff",
        b"\xff\xff\xff\xff",
        struct.pack(">I", 9) + b"".join(_header(b"%d" % n, b"") for n in range(9)),
        b"\0\0\0\1" + _header(b"a", bytes(2100)),
    ],
)
def test_header_blocks_that_are_refused(plain: bytes) -> None:
    with pytest.raises(MalformedHeaders):
        HeaderDecoder(8, 2048).decode(_block(plain))


def test_a_stream_of_headers_without_end() -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, 15, 8, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    with pytest.raises(MalformedHeaders):
        HeaderDecoder(8, 2048).decode(deflate.compress(b"\0\0\0\0") + deflate.flush(zlib.Z_FINISH))


def test_a_compression_bomb_is_not_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    inflated: list[int] = []
    inflater = zlib.decompressobj(zdict=DICTIONARY)

    class Counting:
        unconsumed_tail = property(lambda _self: inflater.unconsumed_tail)
        eof = False

        def decompress(self, data: bytes, most: int) -> bytes:
            plain = inflater.decompress(data, most)
            inflated.append(len(plain))
            return plain

    bomb = b"\0\0\0\1" + _header(b"a", bytes(20_000_000))
    block = _block(bomb)
    decoder = HeaderDecoder(8, 2048)
    decoder._zlib = Counting()  # type: ignore[assignment]
    with pytest.raises(MalformedHeaders):
        decoder.decode(block)
    assert inflated == [2049]
    syn = frames.syn_stream(1, block)
    (failed,) = events(syn, limits=Limits(control_frame=1 << 16, header_bytes=2048))
    assert isinstance(failed, Failed)
