import asyncio

import pytest

from kubelet_bridge.errors import ApiUnavailable
from kubelet_bridge.kubelet_api.reviewcache import ReviewCache


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Reviewer:
    def __init__(self) -> None:
        self.asked = 0
        self.answer = True
        self.gate: asyncio.Event | None = None
        self.failure: Exception | None = None

    async def __call__(self) -> bool:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return self.answer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> ReviewCache[bool]:
    return ReviewCache(lambda allowed: 300 if allowed else 30, size=3, clock=clock)


@pytest.mark.parametrize(("answer", "lifetime"), [(True, 300), (False, 30)])
async def test_an_answer_lives_as_long_as_its_kind(
    cache: ReviewCache[bool], clock: Clock, answer: bool, lifetime: int
) -> None:
    reviewer = Reviewer()
    reviewer.answer = answer
    assert await cache.get("k", reviewer) is answer
    clock.now = lifetime - 0.1
    assert await cache.get("k", reviewer) is answer
    assert reviewer.asked == 1
    clock.now = lifetime
    await cache.get("k", reviewer)
    assert reviewer.asked == 2


async def test_the_least_recently_used_is_forgotten(cache: ReviewCache[bool]) -> None:
    reviewer = Reviewer()
    for key in ("a", "b", "c", "a", "d"):
        await cache.get(key, reviewer)
    assert (len(cache), reviewer.asked) == (3, 4)
    await cache.get("a", reviewer)
    assert reviewer.asked == 4
    await cache.get("b", reviewer)
    assert reviewer.asked == 5


async def test_many_who_ask_the_same_ask_once(cache: ReviewCache[bool]) -> None:
    reviewer = Reviewer()
    reviewer.gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(cache.get("k", reviewer)) for _ in range(20)]
        await asyncio.sleep(0)
        reviewer.gate.set()
    assert [task.result() for task in tasks] == [True] * 20
    assert reviewer.asked == 1


async def test_a_failure_goes_to_all_who_wait_and_is_not_kept(cache: ReviewCache[bool]) -> None:
    reviewer = Reviewer()
    reviewer.gate, reviewer.failure = asyncio.Event(), ApiUnavailable(0, "", "down")

    async def one() -> None:
        with pytest.raises(ApiUnavailable):
            await cache.get("k", reviewer)

    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(one())
        await asyncio.sleep(0)
        reviewer.gate.set()
    assert reviewer.asked == 1
    reviewer.failure = None
    assert await cache.get("k", reviewer) is True


async def test_the_one_who_asked_may_go_away(cache: ReviewCache[bool]) -> None:
    reviewer = Reviewer()
    reviewer.gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(cache.get("k", reviewer))
        await asyncio.sleep(0)
        second = group.create_task(cache.get("k", reviewer))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        reviewer.gate.set()
    assert first.cancelled()
    assert second.result() is True
    assert reviewer.asked == 2


async def test_one_who_waits_may_go_away(cache: ReviewCache[bool]) -> None:
    reviewer = Reviewer()
    reviewer.gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(cache.get("k", reviewer))
        await asyncio.sleep(0)
        second = group.create_task(cache.get("k", reviewer))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        assert second.done()
        reviewer.gate.set()
    assert second.cancelled()
    assert first.result() is True
    assert reviewer.asked == 1
