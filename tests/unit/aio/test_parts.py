import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from kubelet_bridge.aio.parts import Part, run_parts
from kubelet_bridge.aio.tasks import PartEnded

Opener = Callable[[], AbstractAsyncContextManager[None]]


@pytest.fixture
def story() -> list[str]:
    return []


@pytest.fixture
def opener(story: list[str]) -> Callable[[str], Opener]:
    def make(name: str) -> Opener:
        @asynccontextmanager
        async def opened() -> AsyncIterator[None]:
            story.append(f"open {name}")
            try:
                yield
            finally:
                story.append(f"close {name}")

        return opened

    return make


def runner(story: list[str], name: str, running: asyncio.Event | None = None) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        story.append(f"run {name}")
        if running is not None:
            running.set()
        try:
            await asyncio.Event().wait()
        finally:
            story.append(f"stop {name}")

    return run


async def test_a_clean_stop_closes_in_reverse(story: list[str], opener: Callable[[str], Opener]) -> None:
    stop, running = asyncio.Event(), asyncio.Event()
    parts = [Part(name=name, open=opener(name), run=runner(story, name, running)) for name in ("store", "kube")]
    async with asyncio.TaskGroup() as group:
        group.create_task(run_parts(parts, stop))
        await running.wait()
        await asyncio.sleep(0)
        stop.set()
    assert story[:4] == ["open store", "open kube", "run store", "run kube"]
    assert sorted(story[4:6]) == ["stop kube", "stop store"]
    assert story[6:] == ["close kube", "close store"]


async def test_one_failure_stops_the_rest_and_surfaces(story: list[str], opener: Callable[[str], Opener]) -> None:
    async def broken() -> None:
        raise ValueError("no more")

    parts = [
        Part(name="store", open=opener("store"), run=runner(story, "store")),
        Part(name="kube", run=broken),
    ]
    with pytest.raises(ExceptionGroup) as caught:
        await run_parts(parts, asyncio.Event())
    assert [str(error) for error in caught.value.exceptions] == ["no more"]
    assert story[-2:] == ["stop store", "close store"]


async def test_a_part_that_returns_stops_the_process_and_is_named() -> None:
    async def short() -> None:
        return

    with pytest.raises(ExceptionGroup) as caught:
        await run_parts([Part(name="informer", run=short)], asyncio.Event())
    assert isinstance(caught.value.exceptions[0], PartEnded)
    assert "informer" in str(caught.value.exceptions[0])


async def test_what_was_opened_is_closed_when_the_next_cannot_be(
    story: list[str], opener: Callable[[str], Opener]
) -> None:
    def taken_port() -> AbstractAsyncContextManager[None]:
        raise OSError("in use")

    parts = [Part(name="store", open=opener("store")), Part(name="server", open=taken_port)]
    with pytest.raises(OSError, match="in use"):
        await run_parts(parts, asyncio.Event())
    assert story == ["open store", "close store"]


async def test_cancelling_the_whole_closes_everything(story: list[str], opener: Callable[[str], Opener]) -> None:
    running = asyncio.Event()
    parts = [Part(name="store", open=opener("store"), run=runner(story, "store", running))]
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run_parts(parts, asyncio.Event()))
        await running.wait()
        task.cancel()
    assert task.cancelled()
    assert story[-1] == "close store"
