"""HTTP/1.1 and the frames of a shared connection, cut anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.agent.podman import http1, stdcopy


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


SIZES = st.lists(st.integers(1, 9), max_size=60)


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=30)), max_size=10), SIZES)
def test_frames_arrive_whole_however_they_are_cut(frames: list[tuple[int, bytes]], sizes: list[int]) -> None:
    wire = b"".join(bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data for stream, data in frames)
    decoder = stdcopy.Decoder()
    got = [piece for data in cut(wire, sizes) for piece in decoder.feed(data)]
    for stream in (1, 2):
        assert b"".join(d for s, d in got if s == stream) == b"".join(d for s, d in frames if s == stream)
    order = [stream for stream, data in frames if data]
    seen = [stream for stream, _ in got]
    assert [s for i, s in enumerate(seen) if i == 0 or s != seen[i - 1]] == [
        s for i, s in enumerate(order) if i == 0 or s != order[i - 1]
    ]


@given(st.binary(min_size=8, max_size=40))
def test_what_is_no_frame_is_refused_or_read(data: bytes) -> None:
    decoder = stdcopy.Decoder()
    try:
        got = decoder.feed(data)
    except stdcopy.NotStdcopy:
        assert data[0] not in {1, 2} or data[1:4] != b"\0\0\0" or len(data) > 8
    else:
        assert data[0] in {1, 2}
        assert sum(len(piece) for _, piece in got) <= len(data) - 8


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), SIZES, st.booleans())
def test_chunks_arrive_whole_however_they_are_cut(chunks: list[bytes], sizes: list[int], extended: bool) -> None:
    extension = b";name=value" if extended else b""
    wire = b"".join(b"%x%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in chunks) + b"0\r\n\r\n"
    body = http1.Chunks()
    got = b"".join(body.feed(piece) for piece in cut(wire, sizes))
    assert got == b"".join(chunks)
    assert body.done


@pytest.mark.parametrize("wire", [b"zz\r\n", b"-1\r\n", b"3\r\nabcd\r\n", b"\r\n", b"1" * 5000, b"0x3\r\nabc"])
def test_broken_chunks_are_refused(wire: bytes) -> None:
    with pytest.raises(http1.NotHttp):
        http1.Chunks().feed(wire)


@given(st.binary(max_size=60))
def test_any_head_is_read_or_refused(data: bytes) -> None:
    try:
        head = http1.parse_head(data)
    except http1.NotHttp:
        return
    assert head.status >= 0


def test_head_and_request() -> None:
    head = http1.parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nTransfer-Encoding: Chunked\r\n\r\n")
    assert (head.status, head.length, head.chunked) == (200, 12, True)
    sent = http1.request("POST", "/x", {"filters": '{"a":1}'}, {"b": 2})
    assert sent.startswith(b"POST /x?filters=%7B%22a%22%3A1%7D HTTP/1.1\r\n")
    assert sent.endswith(b'Content-Length: 8\r\n\r\n{"b": 2}')
