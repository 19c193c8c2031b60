"""A program in a terminal of a test's own, as a user sits before one."""

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Terminal:
    """What a program shows, and a keyboard.

    Attributes:
        shown: everything that was shown.
    """

    def __init__(self, master: int, process: asyncio.subprocess.Process) -> None:
        self._master, self.process = master, process
        self.shown = b""
        self._changed = asyncio.Event()
        self._looked = 0

    def read(self) -> None:
        """Something is shown."""
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: the last program that had it open has ended
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
        self.shown += data
        self._changed.set()

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        set_size(self._master, rows, columns)
        self.process.send_signal(signal.SIGWINCH)

    async def sees(self, pattern: str, *, seconds: float = 30.0) -> re.Match[bytes]:
        """Wait until something that matches is shown behind what was seen last."""
        try:
            async with asyncio.timeout(seconds):
                while (found := re.compile(pattern.encode()).search(self.shown, self._looked)) is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"not shown within {seconds:.0f} s: {pattern}; {self.shown[-2000:]!r}") from None
        self._looked = found.end()
        return found

    async def ends(self, *, seconds: float = 30.0) -> int:
        """Wait for the program's end, and its exit code."""
        async with asyncio.timeout(seconds):
            return await self.process.wait()


def set_size(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@asynccontextmanager
async def terminal(*argv: str, env: dict[str, str], rows: int = 24, columns: int = 80) -> AsyncIterator[Terminal]:
    """``argv`` in a terminal; it is ended with the context."""
    master, slave = pty.openpty()
    set_size(slave, rows, columns)
    os.set_blocking(master, False)
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True
        )
        os.close(slave)
        one = Terminal(master, process)
        loop = asyncio.get_running_loop()
        loop.add_reader(master, one.read)
        try:
            yield one
        finally:
            loop.remove_reader(master)
            if process.returncode is None:
                process.kill()
            await process.wait()
    finally:
        os.close(master)
