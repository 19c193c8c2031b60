"""Logs over the real HTTPS server, from a real log store: as they are, as they grow, and until they end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.daemon.podlogs import PodLogs
from kubelet_bridge.errors import Transient
from kubelet_bridge.guest.logdisk import LogLimits
from kubelet_bridge.guest.logs import LogStore
from kubelet_bridge.kubelet_api.logs.handler import routes
from kubelet_bridge.kubelet_api.logs.options import LogOptions
from kubelet_bridge.kubelet_api.logs.selection import Run
from kubelet_bridge.kubelet_api.ports import ContainerRef
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.meta import machine_uid
from tests.support.kubelet_endpoint import FULL, Serving, World, serving
from tests.support.pods import UID

__all__ = ["serving"]

NAMES = ("web", "quiet")
RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
SMALL = LogLimits(file_bytes=2000, files=50)


def uid_of(name: str) -> str:
    return UID if name == "web" else UID.replace("0001", "0002")


class Site:
    """A node's Pods and logs, and a client of its kubelet API."""

    def __init__(self, store: LogStore) -> None:
        self.store = store
        self.pods: dict[str, Pod] = {}
        self.rows: dict[str, Intent] = {}
        self.produced = 0
        self.world: World | None = None
        self.session: aiohttp.ClientSession | None = None
        self._positions: dict[tuple[str, str, int], int] = {}
        for name in NAMES:
            self.set(name, app={"state": RUNNING, "containerID": "kubelet-bridge://v/0", "restartCount": 0})

    def set(self, name: str = "web", **statuses: dict[str, Any]) -> None:
        """The Pod as its status has its containers; a test's own ``poke`` must make it known."""
        self.pods[name] = msgspec.convert(
            {
                "metadata": {"name": name, "namespace": "shop", "uid": uid_of(name)},
                "spec": {"containers": [{"name": "app", "image": "a"}, {"name": "other", "image": "a"}]},
                "status": {"containerStatuses": [{"name": one, **status} for one, status in statuses.items()]},
            },
            Pod,
        )

    def end(self, name: str = "web") -> None:
        over = {"terminated": {"exitCode": 0, "containerID": "kubelet-bridge://v/0"}}
        self.set(name, app={"state": over, "containerID": "kubelet-bridge://v/0", "restartCount": 0})
        self.store.poke(uid_of(name))

    async def log(self, *lines: bytes, uid: str = UID, container: str = "app", attempt: int = 0) -> None:
        """Lines that a guest has sent."""
        records, key = [], (uid, container, attempt)
        for line in lines:
            self._positions[key] = position = self._positions.get(key, 0) + 1
            records.append(
                pb.LogRecord(container=container, attempt=attempt, position=position, time=position, data=line)
            )
        await self.store.append(uid, records)

    def get(self, query: str = "", *, name: str = "web", container: str = "app") -> Any:
        assert self.world is not None
        assert self.session is not None
        url = self.world.url(f"/containerLogs/shop/{name}/{container}{query}")
        return self.session.get(url, headers={"Authorization": f"Bearer {FULL}"})

    async def text(self, query: str = "", *, status: int = 200, **where: str) -> str:
        async with self.get(query, **where) as response:
            found: str = await response.text()
            assert response.status == status, found
            return found

    def logs(self) -> PodLogs:
        def pod(namespace: str, name: str) -> Pod | None:
            return self.pods.get(name) if namespace == "shop" else None

        return PodLogs(pod, self.rows.get, self.store, self.console)

    @asynccontextmanager
    async def console(
        self, pod: Pod, ref: ContainerRef, run: Run, options: LogOptions
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        async def said() -> AsyncIterator[bytes]:
            yield f"console of {run.container_id} {sorted(options.query())}".encode()

        yield said()

    @asynccontextmanager
    async def counted(self, ref: ContainerRef, options: LogOptions) -> AsyncIterator[AsyncIterator[bytes]]:
        async def counting(log: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for piece in log:
                self.produced += len(piece)
                yield piece

        async with self.logs().open(ref, options) as log:
            yield counting(log)


Opened = Callable[..., Any]


@pytest.fixture
def site(serving: Serving, tmp_path: Path) -> Opened:
    @asynccontextmanager
    async def open_site(limits: LogLimits = SMALL) -> AsyncIterator[Site]:
        async with LogStore(tmp_path / "logs", limits) as store:
            one = Site(store)
            async with serving(only=routes(one.counted)) as world, world.client() as session:
                one.world, one.session = world, session
                yield one

    return open_site


async def test_a_log_with_its_options(site: Opened) -> None:
    async with site() as one:
        await one.log(*(b"line %d" % number for number in range(1, 301)))
        every = "".join(f"line {number}\n" for number in range(1, 301))
        assert await one.text() == every
        assert await one.text("?tailLines=2") == "line 299\nline 300\n"
        assert await one.text("?tailLines=0") == ""
        assert await one.text("?limitBytes=10") == "line 1\nlin"
        assert await one.text("?tail=1&timestamps=true") == "1970-01-01T00:00:00.000000300Z line 300\n"
        assert await one.text("?sinceTime=1970-01-01T00:00:00.000000299Z") == "line 299\nline 300\n"
        assert await one.text("?sinceSeconds=60") == ""
        assert await one.text("?stream=Stderr") == ""


async def test_a_log_is_neither_compressed_nor_of_a_known_length(site: Opened) -> None:
    async with site() as one:
        await one.log(b"line")
        async with one.get() as response:
            assert response.headers["Transfer-Encoding"] == "chunked"
            assert "Content-Encoding" not in response.headers
            assert response.content_type == "text/plain"


async def test_errors_in_the_kubelets_words(site: Opened) -> None:
    async with site() as one:
        waits = {"waiting": {"reason": "ContainerCreating"}}
        one.set("quiet", other={"state": waits})
        assert await one.text("?tailLines=x", status=400) == '{"message": "Unable to decode query."}'
        assert await one.text("?tailLines=-1", name="none", status=422) == '{"message": "Invalid request."}'
        assert await one.text(name="none", status=404) == 'pod "none" does not exist'
        assert await one.text(container="none", status=404) == 'container "none" not found in pod "web"'
        assert await one.text("?previous=true", status=400) == (
            'previous terminated container "app" in pod "web" not found'
        )
        assert await one.text(name="quiet", container="other", status=400) == (
            'container "other" in pod "quiet" is waiting to start: ContainerCreating'
        )


async def test_each_run_has_its_log(site: Opened) -> None:
    async with site() as one:
        last = {"terminated": {"exitCode": 1, "containerID": "kubelet-bridge://v/1"}}
        one.set(app={"state": RUNNING, "containerID": "kubelet-bridge://v/2", "lastState": last, "restartCount": 2})
        for attempt in range(3):
            await one.log(b"run %d" % attempt, attempt=attempt)
        assert await one.text() == "run 2\n"
        assert await one.text("?previous=true&follow=true") == "run 1\n"
        waits = {"waiting": {"reason": "ContainerCreating"}}
        one.set(app={"state": waits, "containerID": "kubelet-bridge://v/2", "lastState": last, "restartCount": 3})
        assert await one.text() == "run 2\n"


async def test_containers_in_machines_of_their_own(site: Opened) -> None:
    async with site() as one:
        one.rows[UID] = Intent(
            uid=UID,
            id="dpl_1",
            namespace="shop",
            name="web",
            machines=True,
            accepted_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        await one.log(b"mine", uid=machine_uid(UID, "app"))
        assert await one.text() == "mine\n"


async def test_a_machine_that_is_the_container_has_its_console(site: Opened) -> None:
    async with site() as one:
        one.set(app={"state": RUNNING, "containerID": "kubevirt://boot", "restartCount": 0})
        assert await one.text("?tailLines=5&follow=true") == "console of kubevirt://boot ['follow', 'tailLines']"


async def test_following_begins_before_there_is_a_log_and_ends_with_the_container(site: Opened) -> None:
    async with site() as one, one.get("?follow=true") as response:
        assert response.status == 200  # the head comes before the first line
        await one.log(b"first")
        assert await response.content.readline() == b"first\n"
        one.end()
        await one.log(b"last")
        assert await response.content.read() == b"last\n"


async def test_following_goes_through_rotation(site: Opened) -> None:
    async with site() as one, one.get("?follow=true&tailLines=0") as response:
        wanted = [b"%06d" % number for number in range(2000)]
        for start in range(0, 2000, 20):
            await one.log(*wanted[start : start + 20])
            assert await response.content.readline() == wanted[start] + b"\n"
            for line in wanted[start + 1 : start + 20]:
                assert await response.content.readline() == line + b"\n"
        one.end()
        assert await response.content.read() == b""


async def test_following_ends_when_the_container_runs_anew_or_the_pod_is_gone(site: Opened) -> None:
    async with site() as one:
        await one.log(b"line")
        async with one.get("?follow=true") as first, one.get("?follow=true", name="quiet") as second:
            last = {"terminated": {"exitCode": 1, "containerID": "kubelet-bridge://v/0"}}
            one.set(app={"state": RUNNING, "containerID": "kubelet-bridge://v/1", "lastState": last, "restartCount": 1})
            one.store.poke(UID)
            assert await first.text() == "line\n"
            del one.pods["quiet"]
            await one.store.remove(uid_of("quiet"))
            assert await second.text() == ""


async def test_following_is_limited_too(site: Opened) -> None:
    async with site() as one, one.get("?follow=true&limitBytes=7") as response:
        await one.log(b"first")
        await one.log(b"second")
        assert await response.text() == "first\ns"


async def test_a_client_that_goes_away_leaves_nothing(site: Opened) -> None:
    async with site() as one:
        response = await one.get("?follow=true")
        assert one.store._changed
        response.close()
        while one.store._changed:
            await asyncio.sleep(0.01)


async def test_a_client_that_reads_nothing_holds_up_only_itself(site: Opened) -> None:
    async with site(LogLimits()) as one:
        for _ in range(64):
            await one.log(*([b"x" * 8192] * 64))
        await one.log(b"heard", uid=uid_of("quiet"))
        async with one.get("?follow=true", name="web") as slow:
            assert await slow.content.readexactly(10) == b"x" * 10
            before = -1
            while before != one.produced:
                before = one.produced
                await asyncio.sleep(0.2)
            assert await one.text(name="quiet") == "heard\n"
            assert one.produced < 24 * 1024 * 1024
            one.end()
            assert len(await slow.content.read()) == 64 * 64 * 8193 - 10


async def test_many_follow_one_log(site: Opened) -> None:
    async with site() as one:

        async def follow() -> str:
            async with one.get("?follow=true") as response:
                found: str = await response.text()
                return found

        async with asyncio.TaskGroup() as group:
            followers = [group.create_task(follow()) for _ in range(30)]
            for number in range(50):
                await one.log(b"%d" % number)
            while len(one.store._changed) != 1:
                await asyncio.sleep(0.01)
            one.end()
        wanted = "".join(f"{number}\n" for number in range(50))
        assert {follower.result() for follower in followers} == {wanted}


async def test_a_disk_that_does_not_serve_is_told_before_the_answer(site: Opened) -> None:
    async with site() as one:

        @asynccontextmanager
        async def broken(*_: object, **__: object) -> AsyncIterator[Any]:
            raise Transient("the logs cannot be kept: no space", reason="LogStoreUnavailable")
            yield

        one.store.open = broken
        assert await one.text(status=503) == "the logs cannot be kept: no space\n"
