import asyncio

import pytest

from kubelet_bridge.aio.tasks import PartEnded, close, every, first_of, forever


async def test_a_root_task_that_returns_is_a_fault() -> None:
    async def short() -> None:
        return

    with pytest.raises(PartEnded, match="informer ended"):
        await forever("informer", short)


async def test_what_a_root_task_raises_passes_through() -> None:
    async def broken() -> None:
        raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        await forever("informer", broken)


async def test_closing_is_finished_although_the_caller_is_cancelled() -> None:
    started, proceed, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def closing() -> None:
        started.set()
        await proceed.wait()
        finished.set()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(close("store", closing(), limit=10))
        await started.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        proceed.set()
    assert finished.is_set()
    assert task.cancelled()


async def test_closing_that_takes_too_long_is_given_up() -> None:
    cancelled = asyncio.Event()

    async def closing() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    await close("store", closing(), limit=0.01)
    assert cancelled.is_set()


async def test_an_error_of_closing_reaches_the_caller() -> None:
    async def closing() -> None:
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        await close("store", closing(), limit=1)


async def test_an_error_of_closing_does_not_hide_a_cancellation() -> None:
    started, proceed = asyncio.Event(), asyncio.Event()

    async def closing() -> None:
        started.set()
        await proceed.wait()
        raise OSError("disk")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(close("store", closing(), limit=10))
        await started.wait()
        task.cancel()
        await asyncio.sleep(0)
        proceed.set()
    assert task.cancelled()


async def test_every_repeats_and_tolerates_only_what_it_was_told() -> None:
    turns = 0

    async def act() -> None:
        nonlocal turns
        turns += 1
        raise TimeoutError if turns < 3 else ValueError("fault")

    with pytest.raises(ValueError, match="fault"):
        await every(0.0, act, jitter=0.5, tolerate=(TimeoutError,))
    assert turns == 3


class _Work:
    def __init__(self) -> None:
        self.cancelled = False

    async def endless(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled = True


async def _returns() -> None:
    await asyncio.sleep(0)


async def _fails() -> None:
    await asyncio.sleep(0)
    raise ValueError("first")


async def test_when_the_first_ends_the_others_do_too() -> None:
    work = _Work()
    await first_of(work.endless(), _returns())
    assert work.cancelled


async def test_what_the_first_fails_with_is_raised_as_it_is() -> None:
    work = _Work()
    with pytest.raises(ValueError, match="first"):
        await first_of(_fails(), work.endless())
    assert work.cancelled


async def test_cancelled_from_outside_nothing_goes_on() -> None:
    works = [_Work(), _Work()]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await first_of(*(work.endless() for work in works))
    assert all(work.cancelled for work in works)
