"""Watch lines, in any pieces."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.errors import ApiUnavailable, Gone
from kubelet_bridge.kube.watch import EventKind, LineSplitter, decode_line, decode_page


@given(st.lists(st.binary(min_size=1).filter(lambda line: b"\n" not in line), max_size=8), st.data())
def test_lines_survive_any_fragmentation(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    splitter, out = LineSplitter(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        out += splitter.feed(stream[:cut])
        stream = stream[cut:]
    assert out == lines


def test_an_event_keeps_its_object_as_bytes() -> None:
    kind, raw = decode_line(b'{"type":"ADDED","object":{"metadata":{"name":"a"},"x":[1, 2]}}')
    assert (kind, raw) == (EventKind.ADDED, b'{"metadata":{"name":"a"},"x":[1, 2]}')


def test_an_expired_version_is_gone() -> None:
    line = msgspec.json.encode(
        {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}
    )
    with pytest.raises(Gone, match="too old"):
        decode_line(line)


@pytest.mark.parametrize("line", [b"<html>", b"{}", b'{"type":"NEWS","object":{}}', b'{"type":"ERROR","object":[]}'])
def test_what_is_no_event_says_nothing_about_the_cluster(line: bytes) -> None:
    with pytest.raises(ApiUnavailable, match="not what an API server sends"):
        decode_line(line)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b'{"metadata":{}}', b'{"metadata":{"resourceVersion":"1"},"items":{}}']
)
def test_what_is_no_list_is_not_an_empty_one(body: bytes) -> None:
    with pytest.raises(ApiUnavailable, match="not what an API server sends"):
        decode_page(body)


def test_a_page() -> None:
    page = decode_page(b'{"metadata":{"resourceVersion":"7","continue":"x"},"items":[{"a": 1},{}]}')
    assert (page.version, page.metadata.continue_, [bytes(item) for item in page.items]) == (
        "7",
        "x",
        [b'{"a": 1}', b"{}"],
    )
