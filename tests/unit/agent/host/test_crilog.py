from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.agent.host.crilog import LINE, STDERR, STDOUT, CriLog, Lines, parse, timestamp

MOMENT = timestamp(1_475_713_029_669_794_202)


def test_timestamp() -> None:
    assert MOMENT == b"2016-10-06T00:17:09.669794202Z"
    assert timestamp(1_000_000_000) == b"1970-01-01T00:00:01.000000000Z"


def joined(log: bytes) -> bytes:
    records = [parse(line) for line in log.splitlines(keepends=True)]
    return b"".join(one.data + (b"" if one.partial else b"\n") for one in records)


chunks = st.lists(
    st.one_of(
        st.binary(max_size=40).map(lambda data: data.replace(b"\r", b"\n")),
        st.integers(LINE - 2, 3 * LINE + 2).map(lambda size: b"x" * size),
        st.just(b"\n"),
    ),
    max_size=12,
)


@given(chunks)
def test_the_bytes_can_be_had_back(data: list[bytes]) -> None:
    lines = Lines(STDOUT)
    log = b"".join(lines.feed(one, MOMENT) for one in data) + lines.end(MOMENT)
    written = b"".join(data)
    records = [parse(line) for line in log.split(b"\n")[:-1]]
    assert b"".join(one.data + (b"" if one.partial else b"\n") for one in records) == written
    assert all(len(one.data) <= LINE for one in records)
    assert all(one.stream == STDOUT and one.time == MOMENT for one in records)


def test_a_line_of_exactly_the_limit_is_whole() -> None:
    lines = Lines(STDERR)
    log = lines.feed(b"x" * LINE + b"\n", MOMENT)
    assert log == MOMENT + b" stderr F " + b"x" * LINE + b"\n"


def test_rotation_keeps_whole_records_and_drops_the_oldest(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    log = CriLog(str(path), 1000, 3)
    for number in range(200):
        log.write(STDOUT, b"line %d\n" % number)
    log.close()
    names = sorted(one.name for one in tmp_path.iterdir())
    assert names.pop() == "0.log.dropped"
    assert names == ["0.log", "0.log.1", "0.log.2"]
    texts = [(tmp_path / name).read_bytes() for name in reversed(names)]
    assert all(len(text) < 1100 for text in texts)
    numbers = [int(parse(line).data.split()[1]) for text in texts for line in text.splitlines()]
    assert numbers == list(range(numbers[0], 200))
    assert (tmp_path / "0.log.dropped").read_text() == str(numbers[0])


def test_a_log_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "0.log")
    for word in (b"one\n", b"two"):
        log = CriLog(path, 1000, 3)
        log.write(STDOUT, word)
        log.close()
    assert joined(Path(path).read_bytes()) == b"one\ntwo"
