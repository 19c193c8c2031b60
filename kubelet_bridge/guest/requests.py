"""Questions to a guest that have one answer each: probes and hooks."""

import asyncio
from typing import Generic, TypeVar

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.errors import Transient
from kubelet_bridge.guest.outbox import Outbox, disconnected

Answer = TypeVar("Answer", pb.ProbeResult, pb.HookResult)
_MOST = 64
_GRACE = 5.0
"""The guest keeps to the timeout itself; so much later we stop waiting for it to say so."""


class Requests(Generic[Answer]):
    """Those of one kind that have no answer yet."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._last = 0
        self._closed = False

    def next_id(self) -> int:
        """An id for a request, never used before on this connection."""
        self._last += 1
        return self._last

    async def ask(self, id_: int, message: pb.BridgeMessage, *, seconds: float) -> Answer:
        """Send ``message``, which carries ``id_``, and wait for its answer.

        Raises:
            Transient: none came in time (``GuestTimeout``), the guest is gone, or is being asked too much already.
        """
        if self._closed:
            raise disconnected()
        if len(self._waiting) >= _MOST:
            raise Transient("the guest is being asked too much already", reason="TooManyRequests")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[id_] = future
        try:
            async with asyncio.timeout(seconds + _GRACE):
                await self._outbox.send(message)
                return await future
        except TimeoutError as error:
            message_ = f"the guest did not answer within {seconds + _GRACE:.0f} s"
            raise Transient(message_, reason="GuestTimeout") from error
        finally:
            self._waiting.pop(id_, None)

    def on_answer(self, answer: Answer) -> None:
        """One that nobody waits for is dropped."""
        future = self._waiting.get(answer.id)
        if future is not None and not future.done():
            future.set_result(answer)

    def close(self) -> None:
        """The connection is gone."""
        self._closed = True
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(disconnected())
