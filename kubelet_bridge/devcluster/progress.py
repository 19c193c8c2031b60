"""Progress for a person who waits: what is done, and how long it has taken."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_BEAT_TERMINAL, _BEAT_PLAIN = 1.0, 10.0


class Progress:
    """Lines on ``stream``, with the seconds since the start; on a terminal the last one is redrawn while it lasts."""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._start = time.monotonic()

    def say(self, text: str) -> None:
        """One line, for good."""
        self._write(f"[{time.monotonic() - self._start:6.1f} s] {text}\n")

    @contextmanager
    def step(self, doing: str, done: str | None = None) -> Iterator[None]:
        """Show ``doing`` with the time it has taken so far, then ``done`` (or nothing, if it was quick and unnamed)."""
        began, finished = time.monotonic(), threading.Event()
        beat = threading.Thread(target=self._beat, args=(doing, began, finished), daemon=True)
        beat.start()
        try:
            yield
        finally:
            finished.set()  # the thread ends by itself: nothing here may wait, it may be an event loop's thread
        if done is not None:
            self.say(f"{done} ({time.monotonic() - began:.1f} s)")

    def _beat(self, doing: str, began: float, finished: threading.Event) -> None:
        terminal = self._stream.isatty()
        while not finished.wait(_BEAT_TERMINAL if terminal else _BEAT_PLAIN):
            elapsed = f"{doing}… {time.monotonic() - began:.0f} s"
            self._write(f"\r\033[K{elapsed}") if terminal else self.say(elapsed)

    def _write(self, text: str) -> None:
        if self._quiet:
            return
        if text.endswith("\n") and self._stream.isatty():
            text = f"\r\033[K{text}"
        self._stream.write(text)
        self._stream.flush()
