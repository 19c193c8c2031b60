"""The authority whose client certificates we believe, read again and again: clusters replace it while nodes run."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from cryptography import x509

from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.errors import ApiError

log = structlog.get_logger(__name__)

ReadCa = Callable[[], Awaitable[bytes]]
"""PEM certificates, from a file, or from ConfigMap kube-system/extension-apiserver-authentication (client-ca-file)."""


class ClientCa:
    """What was last read and could be used; None before, and then no client certificate is asked for."""

    def __init__(self, read: ReadCa, *, interval: float = 30.0) -> None:
        self.pem: bytes | None = None
        self._read = read
        self._interval = interval

    async def start(self) -> None:
        """Read it once. Not being able to is no reason not to start: tokens work without."""
        if not await self._look():
            log.warning("client certificates are not accepted until their authority can be read")

    async def run(self, changed: Callable[[], None]) -> None:
        """Read it for ever, sooner while there is none, and tell of changes."""
        retry = Backoff(base=1.0, cap=self._interval)
        while True:
            await asyncio.sleep(self._interval if self.pem is not None else retry.next())
            before = self.pem
            if await self._look() and self.pem != before:
                log.info("the authority of client certificates is another one", first=before is None)
                changed()

    async def _look(self) -> bool:
        try:
            pem = await self._read()
            found = await asyncio.to_thread(x509.load_pem_x509_certificates, pem)
        except (ApiError, OSError, ValueError) as error:
            log.warning("the authority of client certificates cannot be read", error=str(error))
            return False
        if found:
            self.pem = pem
        return bool(found)
