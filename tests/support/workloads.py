"""Workloads that run no guest: real processes of this machine, and some that do what a test says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from kubelet_bridge.errors import NotFound, Transient
from kubelet_bridge.kubelet_api.ports import ContainerRef, Ended, Output, Process


class ScriptedProcess:
    """Runs ``script`` as the guest's side: it takes from ``input`` and calls ``say``."""

    def __init__(self) -> None:
        self.input: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=4)
        self.sizes: list[tuple[int, int]] = []
        self.left = asyncio.Event()
        self._output: asyncio.Queue[Output | None] = asyncio.Queue(maxsize=4)
        self._ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

    async def say(self, data: bytes, *, stderr: bool = False) -> None:
        await self._output.put(Output(stderr, data))

    async def end(self, ended: Ended) -> None:
        self._ended.set_result(ended)
        await self._output.put(None)

    def lose(self) -> None:
        """The guest goes away."""
        self._ended.set_exception(Transient("the guest is gone", reason="GuestDisconnected"))
        self._output.put_nowait(None)

    async def read(self) -> Output | None:
        return await self._output.get()

    async def write(self, data: bytes) -> None:
        await self.input.put(data)

    async def close_stdin(self) -> None:
        await self.input.put(None)

    def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    async def result(self) -> Ended:
        return await self._ended


Script = Callable[[ScriptedProcess, list[str]], Awaitable[Ended]]


async def echo(process: ScriptedProcess, _command: list[str]) -> Ended:
    """``cat``."""
    while (data := await process.input.get()) is not None:
        await process.say(data)
    return Ended()


async def exits(process: ScriptedProcess, command: list[str]) -> Ended:
    """Says a word on both outputs and ends with the code that its last argument names."""
    await process.say(b"out")
    await process.say(b"err", stderr=True)
    await process.say(b"")
    return Ended(int(command[-1]))


async def sleeps(_process: ScriptedProcess, _command: list[str]) -> Ended:
    """Never ends."""
    await asyncio.Event().wait()
    return Ended()


class ScriptedWorkload:
    """Each exec and attach runs ``script``.

    Attributes:
        asked: what was asked for, in order.
        processes: those that were begun.
        running: how many have not been left.
        refuse: raised instead of running anything.
    """

    def __init__(self, script: Script = echo, *, tty: bool = False) -> None:
        self.script, self.tty = script, tty
        self.asked: list[tuple[str, list[str], bool, bool]] = []
        self.processes: list[ScriptedProcess] = []
        self.running = 0
        self.refuse: Transient | None = None

    def find(self, ref: ContainerRef) -> "ScriptedWorkload":
        if ref.pod != "pod" or ref.uid not in ("", "uid"):
            raise NotFound(404, "NotFound", "pod does not exist")
        if ref.container != "app":
            raise NotFound(404, "NotFound", f'container not found ("{ref.container}")')
        return self

    def exec(self, command: list[str], *, stdin: bool, tty: bool) -> AbstractAsyncContextManager[Process]:
        self.asked.append(("exec", command, stdin, tty))
        return self._run(command)

    def attach(self, *, stdin: bool) -> AbstractAsyncContextManager[Process]:
        self.asked.append(("attach", [], stdin, self.tty))
        return self._run([])

    @asynccontextmanager
    async def _run(self, command: list[str]) -> AsyncIterator[Process]:
        if self.refuse is not None:
            raise self.refuse
        process = ScriptedProcess()
        self.processes.append(process)
        self.running += 1
        task = asyncio.get_running_loop().create_task(self._script(process, command))
        try:
            yield process
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self.running -= 1
            process.left.set()

    async def _script(self, process: ScriptedProcess, command: list[str]) -> None:
        await process.end(await self.script(process, command))
