"""The keyed queue: a key once in it, once out of it, and never lost."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.aio.workqueue import WorkQueue


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_key_added_twice_is_handed_out_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("a")
    key, _ = await queue.get()
    queue.done(key)
    assert (key, len(queue)) == ("a", 0)


async def test_a_key_added_while_worked_on_comes_again_and_only_then() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add("a")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 0.05)
    queue.done("a")
    assert (await queue.get())[0] == "a"


async def test_an_earlier_request_replaces_a_later_one_and_not_the_other_way_round() -> None:
    time = Time()
    queue: WorkQueue[str] = WorkQueue(clock=time)
    queue.add("a", delay=10)
    queue.add("a", delay=1)
    queue.add("a", delay=20)
    time.now = 2
    key, waited = await queue.get()
    assert (key, waited) == ("a", 1)
    assert len(queue) == 0


async def test_a_sleeping_worker_wakes_for_a_key_that_is_due_sooner() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("late", delay=60)
    waiter = asyncio.get_running_loop().create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("soon")
    assert (await waiter)[0] == "soon"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 5), st.booleans()), max_size=30))
async def test_every_added_key_is_handed_out_after_its_last_add(adds: list[tuple[str, float, bool]]) -> None:
    time = Time()
    queue: WorkQueue[str] = WorkQueue(clock=time)
    for key, delay, work in adds:
        queue.add(key, delay=delay)
        if work:
            time.now += 5
            taken, _ = await queue.get()
            queue.add(taken)
            queue.done(taken)
    time.now += 10
    left = set()
    while len(queue):
        taken, _ = await queue.get()
        assert taken not in left
        left.add(taken)
        queue.done(taken)
    assert left == {key for key, _, _ in adds}
