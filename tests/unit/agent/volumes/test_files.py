"""ConfigMaps and Secrets as directories: what a container sees before, while and after they change."""

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.agent.driver import RunError
from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.agent.volumes import files, read_only, sub_path


def source(**contents: bytes) -> pb.Files:
    """Underscores in names stand for slashes."""
    return pb.Files(files=[pb.File(path=name.replace("_", "/"), content=data) for name, data in contents.items()])


@pytest.fixture
def private() -> Iterator[None]:
    """As systemd starts the agent."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("private")
def test_any_user_may_read_it_whatever_our_umask(tmp_path: Path) -> None:
    place = tmp_path / "volumes" / "config"
    files.prepare(source(key=b"1", deep_er_key=b"2"), place, None)
    modes = {str(path.relative_to(place.resolve())): stat.S_IMODE(path.stat().st_mode) for path in place.rglob("*")}
    assert stat.S_IMODE(place.stat().st_mode) == 0o755
    assert {mode for name, mode in modes.items() if (place / name).is_dir()} == {0o755}
    assert {mode for name, mode in modes.items() if (place / name).is_file()} == {0o644}
    assert (place / "deep" / "er" / "key").read_bytes() == b"2"


def test_modes_are_the_bridges_and_never_set_user_id(tmp_path: Path) -> None:
    wanted = pb.Files(
        files=[pb.File(path="a", mode=0o400), pb.File(path="b", mode=0o4755), pb.File(path="c", mode=2**31)]
    )
    files.prepare(wanted, tmp_path / "config", None)
    found = [stat.S_IMODE((tmp_path / "config" / name).stat().st_mode) for name in "abc"]
    assert found == [0o400, 0o755, 0o644]


def test_a_change_replaces_everything_in_one_step(tmp_path: Path) -> None:
    """Whoever reads two files through one ``..data`` sees both of the same version."""
    place = tmp_path / "config"
    files.prepare(source(a=b"0", b=b"0"), place, None)
    torn: list[tuple[bytes, bytes]] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            try:
                version = place / (place / "..data").readlink()
                pair = (version / "a").read_bytes(), (version / "b").read_bytes()
            except FileNotFoundError:
                continue  # it was replaced between two steps of ours, and is gone as a whole
            if pair[0] != pair[1]:
                torn.append(pair)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 60):
        files.prepare(source(a=b"%d" % number, b=b"%d" % number), place, None)
        assert (place / "a").read_bytes() == b"%d" % number
    over.set()
    reader.join()
    assert torn == []
    assert len(list(place.glob("..[0-9]*"))) == 1


def test_what_does_not_change_is_not_touched(tmp_path: Path) -> None:
    place = tmp_path / "config"
    files.prepare(source(a=b"1"), place, None)
    before = (place / "..data").readlink()
    files.prepare(source(a=b"1"), place, None)
    assert (place / "..data").readlink() == before


def test_keys_come_and_go(tmp_path: Path) -> None:
    place = tmp_path / "config"
    files.prepare(source(a=b"1", b_c=b"2"), place, None)
    files.prepare(source(b_d=b"3", e=b"4"), place, None)
    assert sorted(path.name for path in place.iterdir() if not path.name.startswith("..")) == ["b", "e"]
    assert [path.name for path in (place / "b").iterdir()] == ["d"]


def test_a_mounted_sub_path_stays_what_it_was(tmp_path: Path) -> None:
    place = tmp_path / "config"
    files.prepare(source(a=b"old"), place, None)
    with Path(sub_path(str(place), "a")).open("rb") as mounted:  # a bind mount holds on to a file just so
        files.prepare(source(a=b"new"), place, None)
        assert mounted.read() == b"old"
    assert Path(sub_path(str(place), "a")).read_bytes() == b"new"


@given(st.text(alphabet="./a\0\n", min_size=0, max_size=8))
def test_no_path_leads_out(name: str) -> None:
    try:
        files._check(name)
    except files.InvalidPath:
        return
    place = Path("/volume")
    assert os.path.normpath(place / name) == str(place / name)
    assert place in (place / name).parents


@pytest.mark.parametrize("part", ["../up", "/etc", "a/../../b", "out/passwd"])
def test_no_sub_path_leads_out(tmp_path: Path, part: str) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / "out").symlink_to("/etc")
    with pytest.raises(RunError, match="leads out of its volume"):
        sub_path(str(tmp_path / "volume"), part)


def test_nobody_may_write_where_we_write_as_root() -> None:
    manifest = pb.PodManifest()
    manifest.volumes.add(name="config").files.SetInParent()
    manifest.volumes.add(name="data").empty_dir.SetInParent()
    assert read_only(manifest, pb.Mount(volume="config"))
    assert not read_only(manifest, pb.Mount(volume="data"))
    assert read_only(manifest, pb.Mount(volume="data", read_only=True))
