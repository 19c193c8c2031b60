import asyncio
import time

from kubelet_bridge.aio.lag import measure_lag


async def test_a_blocked_loop_shows() -> None:
    seen: list[float] = []

    def observe(late: float) -> None:
        seen.append(late)
        if len(seen) == 1:
            asyncio.get_running_loop().call_later(0.01, time.sleep, 0.1)
        if len(seen) == 3:
            task.cancel()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(measure_lag(observe, interval=0.02))
    assert all(late >= 0 for late in seen)
    assert max(seen[1:]) > seen[0]
