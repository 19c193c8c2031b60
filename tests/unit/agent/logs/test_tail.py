from pathlib import Path

from kubelet_bridge.agent.host.crilog import CriLog
from kubelet_bridge.agent.logs.tail import LONGEST, Numbered, Place, Tail

STAMP = b"2016-10-06T00:17:09.669794202Z stdout F "


def lines(first: int, last: int) -> bytes:
    return b"".join(STAMP + b"line %d\n" % number for number in range(first, last + 1))


def numbers(records: list[Numbered]) -> list[tuple[int, bytes]]:
    return [(one.position, one.line.data) for one in records]


def expected(first: int, last: int) -> list[tuple[int, bytes]]:
    return [(number, b"line %d" % number) for number in range(first, last + 1)]


def test_whole_lines_are_read_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    tail = Tail(str(path))
    assert not tail.changed()
    assert tail.read(1000) == []
    path.write_bytes(lines(1, 2) + STAMP + b"li")
    assert tail.changed()
    assert numbers(tail.read(1000)) == expected(1, 2)
    assert tail.read(1000) == []
    with path.open("ab") as file:
        file.write(b"ne 3\n")
    assert numbers(tail.read(1000)) == expected(3, 3)
    assert not tail.changed()


def test_a_tail_that_goes_on_at_a_place_numbers_as_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(lines(1, 5000))
    first = Tail(str(path))
    begun = numbers(first.read(100))
    second = Tail(str(path), first.place)
    rest = numbers(second.read(10_000_000))
    assert begun + rest == expected(1, 5000)
    assert rest


def test_the_end_of_a_line_that_never_ended_is_read_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(lines(1, 1) + STAMP + b"line 2")
    tail = Tail(str(path))
    assert numbers(tail.read(1000)) == expected(1, 1)
    assert numbers(tail.read(1000, end=True)) == expected(2, 2)
    assert not tail.changed()


def test_what_a_rotation_unlinked_is_read_to_its_end_first(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(lines(1, 3))
    tail = Tail(str(path))
    assert len(tail.read(1000)) == 3
    with path.open("ab") as file:
        file.write(lines(4, 5))
    path.rename(tmp_path / "0.log.1")
    path.write_bytes(lines(6, 8))
    read: list[Numbered] = []
    while tail.changed():
        read += tail.read(1000)
    assert numbers(read) == expected(4, 8)


def test_a_file_that_was_truncated_in_place_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(lines(1, 9))
    tail = Tail(str(path))
    tail.read(10_000)
    path.write_bytes(lines(10, 11))
    assert numbers(tail.read(1000)) == expected(10, 11)


def test_positions_do_not_go_back_when_a_rotation_took_what_was_on_its_way(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(lines(1, 9))
    tail = Tail(str(path))
    tail.read(10_000)
    path.unlink()
    path.write_bytes(lines(10, 12))
    tail.read(10_000)
    tail.seek(Place(999_999, 0, 0), floor=9)  # of 1 to 9, all had arrived, though this agent did not know it yet
    assert numbers(tail.read(1000)) == expected(10, 12)


def test_skipping_counts_what_it_passes_over(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(lines(1, 100_000))
    tail = Tail(str(path))
    lost = 0
    while passed := tail.skip(50_000):
        lost += passed
    assert tail.backlog() <= 50_000
    records = tail.read(1000)
    assert numbers(records)[0] == (lost + 1, b"line %d" % (lost + 1))


def test_a_line_without_an_end_is_cut_at_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(STAMP + b"x" * (2 * LONGEST))
    tail = Tail(str(path))
    records = tail.read(1000)
    assert 0 < sum(len(one.line.data) for one in records) <= LONGEST
    assert all(one.line.partial for one in records[:-1])


def rotated(path: Path, files: int, each: int) -> CriLog:
    """A log whose writer has gone through so many files of so many lines, of which it keeps four."""
    log = CriLog(str(path), 1, 4)
    for number in range(files):
        log.write(b"stdout", b"".join(b"line %d\n" % (number * each + line + 1) for line in range(each)))
    return log


def everything(tail: Tail) -> list[tuple[int, bytes]]:
    read: list[Numbered] = []
    while tail.changed():
        read += tail.read(1000)
    return numbers(read)


def test_all_files_of_a_rotated_log_are_read_oldest_first(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    rotated(path, 4, 10).close()
    assert everything(Tail(str(path))) == expected(1, 40)


def test_what_was_rotated_several_times_since_is_read_file_by_file(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    log = rotated(path, 1, 10)
    tail = Tail(str(path))
    assert everything(tail) == expected(1, 10)
    for number in range(11, 41, 10):
        log.write(b"stdout", b"".join(b"line %d\n" % line for line in range(number, number + 10)))
    log.close()
    assert everything(tail) == expected(11, 40)


def test_an_agent_after_us_goes_on_in_the_file_that_was_rotated_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    log = rotated(path, 1, 1000)
    first = Tail(str(path))
    begun = numbers(first.read(100))
    log.write(b"stdout", b"line 1001\n")
    log.write(b"stdout", b"line 1002\n")
    log.close()
    assert begun + everything(Tail(str(path), first.place)) == expected(1, 1002)


def test_what_was_dropped_unread_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    log = rotated(path, 1, 10)
    tail = Tail(str(path))
    assert everything(tail) == expected(1, 10)
    for number in range(11, 91, 10):
        log.write(b"stdout", b"".join(b"line %d\n" % line for line in range(number, number + 10)))
    log.close()
    assert everything(tail) == expected(51, 90), "positions say that 11 to 50 are missing"
    assert everything(Tail(str(path))) == expected(51, 90)
