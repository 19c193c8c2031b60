"""Ending one container as a kubelet does: preStop, its turn, the stop signal, and at last force."""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Callable, Coroutine

from kubelet_bridge.agent import tasks
from kubelet_bridge.agent.driver import Run
from kubelet_bridge.agent.pod.backoff import SECOND
from kubelet_bridge.agent.pod.decide import Kill
from kubelet_bridge.agent.pod.policy import Member
from kubelet_bridge.agent.pod.ports import HookFailed
from kubelet_bridge.agent.pod.state import State

# Whatever the grace was spent on, a container has so long between the signal and the end (kuberuntime:
# minimumGracePeriodInSeconds).
LEAST_SECONDS = 2.0


async def kill(
    state: State,
    member: Member,
    run: Run,
    order: Kill,
    turn: Callable[[], Awaitable[None]],
    ended: asyncio.Future[None],
) -> None:
    """End one run; returns when it has ended and its end is recorded.

    ``turn`` waits until those have ended that must end before it is signalled; ``ended`` is done once its end is
    recorded.
    """
    deadline = state.time.now() + int(order.grace * SECOND)
    state.tell(member, "Killing", order.why)
    if member.container.HasField("pre_stop") and order.grace > 0:
        await _bounded(state, order.grace, _pre_stop(state, member, run), _done(ended))
    left = _left(state, deadline)
    if order.after and left > 0:
        await _bounded(state, left, _of(turn()), _done(ended))
    if not ended.done():
        grace = max(LEAST_SECONDS, _left(state, deadline))
        await state.parts.driver.stop(run, member.container.stop_signal, grace)
    await _done(ended)


def _left(state: State, deadline: int) -> float:
    return max(0.0, (deadline - state.time.now()) / SECOND)


async def _pre_stop(state: State, member: Member, run: Run) -> None:
    try:
        await state.parts.hooks.run(state.manifest, member.container, run, member.container.pre_stop)
    except HookFailed as error:
        state.tell(member, "FailedPreStopHook", f"PreStopHook failed: {error}", warning=True)


async def _done(future: asyncio.Future[None]) -> None:
    await asyncio.wait({future})


async def _of(waiting: Awaitable[object]) -> None:
    await waiting


async def _bounded(state: State, seconds: float, *work: Coroutine[Any, Any, None]) -> None:
    """Until one of these ends, or so many seconds have passed."""
    await tasks.until_one_ends(*work, _of(state.time.sleep(seconds)))
