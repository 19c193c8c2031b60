"""The machine crashes, or its disk fails: what was acknowledged is there, and nothing is there twice."""

import asyncio
import errno
import os
import random
import shutil
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.errors import Transient
from kubelet_bridge.guest.logdisk import LogLimits
from kubelet_bridge.guest.logs import LogStore
from tests.support.guests import MemoryRecords, Node, pod_key, running

UID = "0b6e8f0a-1111-4222-8333-abcdefabcdef"
LIMITS = LogLimits(file_bytes=120, files=1000)
KEY = pod_key("web")


class Disk:
    """What would be left after a crash: each folder and each file as it was when last synced.

    Of what was written to a file later, some may be there too, and zeros behind it.
    """

    def __init__(self) -> None:
        self.files: dict[int, bytes] = {}
        self.folders: dict[int, dict[str, int]] = {}
        self.refuse = 0

    @contextmanager
    def installed(self) -> Iterator[None]:
        before = os.fsync, os.fdatasync
        os.fsync = os.fdatasync = self._sync  # type: ignore[assignment]
        try:
            yield
        finally:
            os.fsync, os.fdatasync = before

    def _sync(self, file: int) -> None:
        if self.refuse:
            self.refuse -= 1
            raise OSError(errno.EIO, "no")
        found = os.fstat(file)
        if stat.S_ISDIR(found.st_mode):
            with os.scandir(file) as entries:
                self.folders[found.st_ino] = {one.name: one.inode() for one in entries}
        else:
            self.files[found.st_ino] = _content(file)

    def crash(self, top: Path, to: Path, chance: random.Random) -> None:
        """Make ``to`` what is left of ``top``."""
        written = {one.stat().st_ino: one.read_bytes() for one in top.rglob("*") if one.is_file()}
        self._restore(top.stat().st_ino, to, written, chance)

    def _restore(self, folder: int, to: Path, written: dict[int, bytes], chance: random.Random) -> None:
        to.mkdir()
        for name, inode in self.folders.get(folder, {}).items():
            safe = self.files.get(inode)
            if safe is None and inode not in written:
                self._restore(inode, to / name, written, chance)
                continue
            now, safe = written.get(inode, safe or b""), safe or b""
            end = chance.randint(*sorted((len(safe), len(now))))
            (to / name).write_bytes(now[:end] + chance.choice([b"", b"\0" * 10]))


def _content(file: int) -> bytes:
    return Path(f"/proc/self/fd/{file}").read_bytes()


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[LogStore]:
    async with LogStore(directory, LIMITS) as store, running(store.run()):
        yield store


def records(first: int, last: int, container: str = "app") -> list[pb.LogRecord]:
    return [pb.LogRecord(container=container, position=one, data=b"x" * 20) for one in range(first, last + 1)]


async def positions(store: LogStore, container: str = "app") -> list[int]:
    return [line.position for line in await store.read(UID, container, 0)]


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=5), chance=st.randoms())
async def test_what_was_acknowledged_outlives_the_machine(
    steps: list[tuple[int, bool]], chance: random.Random, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("crash")
    place, left = directory / "logs", directory / "left"
    disk = Disk()
    acknowledged, sent = 0, 0
    with disk.installed():
        async with opened(place) as store:
            for more, kept in steps:
                await store.append(UID, records(sent + 1, sent + more))
                sent += more
                if kept:
                    await store.kept(UID)
                    acknowledged = sent
            await asyncio.to_thread(disk.crash, place, left, chance)
    async with opened(left) as store:
        found = {one.container: one.position for one in await store.positions(UID)}
        arrived = found.get("app", 0)
        assert arrived >= acknowledged
        await store.append(UID, records(arrived + 1, sent + 3))
        assert await positions(store) == list(range(1, sent + 4))
    await asyncio.to_thread(shutil.rmtree, directory)


async def test_what_the_disk_did_not_keep_is_sent_again(tmp_path: Path) -> None:
    disk = Disk()
    with disk.installed():
        async with opened(tmp_path) as store:
            await store.append(UID, records(1, 2))
            await store.kept(UID)
            disk.refuse = 1
            await store.append(UID, records(3, 3))
            with pytest.raises(Transient):
                await store.kept(UID)
            assert [one.position for one in await store.positions(UID)] == [2]
            again = await store.append(UID, records(3, 4))
            await store.kept(UID)
            assert [one.position for one in again.acks] == [4]
            assert await positions(store) == [1, 2, 3, 4]


async def test_what_came_while_the_disk_failed_is_sent_again_too(tmp_path: Path) -> None:
    disk = Disk()
    with disk.installed():
        async with opened(tmp_path) as store:
            await store.append(UID, records(1, 1))
            disk.refuse = 1
            first = asyncio.get_running_loop().create_task(store.kept(UID))
            while disk.refuse:
                await asyncio.sleep(0)
            await store.append(UID, records(2, 2))
            second = asyncio.get_running_loop().create_task(store.kept(UID))
            outcomes = await asyncio.gather(first, second, return_exceptions=True)
            assert isinstance(outcomes[0], Transient)
            kept = [one.position for one in await store.positions(UID)]
            assert kept == ([] if isinstance(outcomes[1], Transient) else [2]) or kept == [0]


async def test_others_do_not_suffer(tmp_path: Path) -> None:
    disk = Disk()
    with disk.installed():
        async with opened(tmp_path) as store:
            await store.append(UID, records(1, 1))
            await store.append("other", records(1, 1))
            await store.kept(UID)
            disk.refuse = 1
            await store.append(UID, records(2, 2))
            failed = asyncio.get_running_loop().create_task(store.kept(UID))
            await store.kept("other")
            with pytest.raises(Transient):
                await failed


async def test_a_guest_hears_of_its_lines_only_when_they_are_on_the_disk(tmp_path: Path) -> None:
    disk = Disk()
    with disk.installed():
        async with Node(tmp_path, MemoryRecords()).serving() as node, node.agent(KEY) as agent:
            node.registry.expect(KEY, boot="vmi-1")
            token = await agent.settle(node)
            disk.refuse = 1
            await agent.say(logs=pb.LogBatch(records=records(1, 3)))
            await agent.refusal()
            async with node.agent(KEY) as again:
                welcome = await again.introduce(token, boot=False)
                assert [one.position for one in welcome.logs] in ([], [0])
                await again.say(logs=pb.LogBatch(records=records(1, 3)))
                assert (await again.hear_of("log_ack")).log_ack.position == 3
            inode = (tmp_path / "logs" / KEY.uid / "app" / "0.log").stat().st_ino
            assert disk.files[inode].count(b"\n") == 3
