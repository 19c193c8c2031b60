"""Noticing that nothing happens."""

import asyncio


class Idle:
    """Expires when it was not touched for ``limit`` seconds. Touching is cheap: it sets no timer."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._clock = asyncio.get_running_loop().time
        self._last = self._clock()

    def touch(self) -> None:
        """Something happened."""
        self._last = self._clock()

    async def expired(self) -> None:
        """Wait until it has."""
        while True:
            left = self._last + self.limit - self._clock()
            if left <= 0:
                return
            await asyncio.sleep(left)
