import asyncio

import pytest

from kubelet_bridge.agent import tasks


async def test_a_cancellation_that_got_lost_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by ``wait_for`` before Python 3.12, when what it waits for happens at the same time."""
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.01)
    lost = 0

    async def loses_one() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if lost:
                    raise
                lost += 1

    task = tasks.start(loses_one(), "loses one")
    await asyncio.sleep(0)
    await tasks.end([task])
    assert task.cancelled()
    assert lost == 1


async def test_errors_on_the_way_out_are_nobodys() -> None:
    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("gone")

    task = tasks.start(fails(), "fails")
    await asyncio.sleep(0)
    await tasks.end([task])
    assert isinstance(task.exception(), OSError)
