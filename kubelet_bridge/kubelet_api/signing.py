"""The serving certificate that the cluster signs: asked for, waited for, renewed in time.

Somebody else approves: kube-controller-manager never does so by itself for ``kubernetes.io/kubelet-serving``. Until
then we serve with a self-signed certificate, so that the Node can become Ready; an API server without
``--kubelet-certificate-authority`` (kubeadm's default) accepts that.
"""

import asyncio
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import structlog

from kubelet_bridge.aio import files
from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.errors import ApiError, Terminal
from kubelet_bridge.kubelet_api import pki
from kubelet_bridge.kubelet_api.certificates import (
    Addresses,
    Changed,
    KeyPair,
    SelfSignedCertificate,
    now_utc,
    usable,
)
from kubelet_bridge.model.access import Issued, Missing, Refused, SigningAnswer, Waiting

log = structlog.get_logger(__name__)

_LOOK_AGAIN = 60.0
_AFTER_REFUSAL = 900.0
_LATEST = 0.9  # of its life; a certificate is renewed between 70 and 90 %, as client-go's certificate manager does
_EARLIEST = 0.7


class Signer(Protocol):
    """Certificate signing requests of the signer ``kubernetes.io/kubelet-serving``. Its methods raise ``ApiError``."""

    async def submit(self, name: str, request: bytes) -> None:
        """Ask, under ``name``; asking again for what was asked is fine."""

    async def answer(self, name: str) -> SigningAnswer:
        """What has become of it."""


class RequestRefused(Terminal):
    """Denied, failed, or answered with a certificate that is not what was asked for."""


class SignedCertificate:
    """Signed by the cluster as soon as that can be had; self-signed before."""

    def __init__(
        self, directory: Path, node: str, addresses: Addresses, signer: Signer, *,
        clock: Callable[[], datetime] = now_utc, draw: Callable[[float, float], float] = random.uniform,
        poll: Backoff | None = None, look_again: float = _LOOK_AGAIN,
    ) -> None:  # fmt: skip
        signed = directory / "kubelet-serving.pem"
        self._signed = KeyPair(signed, signed)
        self._pending_key = directory / "kubelet-serving.key.pending"
        self._own = SelfSignedCertificate(directory, node, addresses, clock=clock)
        self._node, self._addresses, self._signer = node, addresses, signer
        self._clock, self._draw, self._look_again = clock, draw, look_again
        self._poll = poll or Backoff(base=1.0, cap=30.0)
        self._renew_at: datetime | None = None

    @property
    def pair(self) -> KeyPair:
        """The signed one once there is one."""
        return self._signed if self._renew_at is not None else self._own.pair

    async def start(self) -> None:
        """Take up the one of before when it still holds, else our own."""
        if await self._adopt(self._names):
            return
        await self._own.start()
        log.warning(
            "serving with a self-signed certificate until the cluster signs one",
            signer="kubernetes.io/kubelet-serving",
            approve="kubectl certificate approve <name>, see kubectl get csr",
        )

    async def run(self, changed: Changed) -> None:
        """Ask for one when there is none, when it is time, and when our addresses have changed."""
        retry = Backoff(base=5.0, cap=300.0)
        while True:
            if self._renew_at is None and await self._own.refresh():
                changed()
            if not await self._due():
                await asyncio.sleep(self._look_again)
                continue
            try:
                await self._obtain()
            except ApiError as error:
                delay = error.retry_after or retry.next()
                log.warning("no serving certificate yet", error=str(error), retry_in=round(delay))
                await asyncio.sleep(delay)
            except RequestRefused as error:
                log.warning("the serving certificate was refused", reason=error.reason, error=error.message)
                await asyncio.sleep(_AFTER_REFUSAL)
            else:
                retry.reset()
                changed()

    @property
    def _names(self) -> pki.Names:
        return pki.Names.of(self._addresses())

    async def _due(self) -> bool:
        if not self._names:
            return False  # a request without a name cannot be granted; the address is not known yet
        if self._renew_at is None or self._clock() >= self._renew_at:
            return True
        return not await usable(self._signed, self._node, self._names, self._clock())

    async def _adopt(self, names: pki.Names) -> bool:
        """Serve with what is on disk, if it is good for now, and decide when to renew it."""
        if not await usable(self._signed, self._node, names, self._clock()):
            return False
        found = await asyncio.to_thread(pki.leaf, await files.read(self._signed.certificate))
        life: timedelta = found.not_after - found.not_before
        self._renew_at = found.not_before + life * self._draw(_EARLIEST, _LATEST)
        return True

    async def _obtain(self) -> None:
        key, names = await self._request_key(), self._names
        request = await asyncio.to_thread(pki.signing_request, key, self._node, names)
        # The name follows from key and names: after a restart the same request is found again, not made twice.
        name = await asyncio.to_thread(_request_name, key, self._node, names)
        certificate = await self._wait(name, request, names)
        if certificate is None:
            return  # the addresses changed while we waited; ask for the new ones
        if not await asyncio.to_thread(pki.belong_together, certificate, key):
            raise RequestRefused(f"{name}: the certificate is for another key", reason="ForeignKey")
        await files.write_private(self._signed.certificate, key + certificate)
        await files.remove(self._pending_key)
        if not await self._adopt(names):
            raise RequestRefused(f"{name}: the certificate is not the one asked for", reason="UnexpectedCertificate")
        log.info("serving certificate signed", request=name, renew_at=str(self._renew_at))

    async def _wait(self, name: str, request: bytes, names: pki.Names) -> bytes | None:
        self._poll.reset()
        await self._signer.submit(name, request)
        log.info("serving certificate requested", request=name, dns=names.dns, ips=names.ips)
        while names == self._names:
            answer = await self._signer.answer(name)
            match answer:
                case Issued(certificate):
                    return certificate
                case Refused(reason, message):
                    await files.remove(self._pending_key)
                    raise RequestRefused(f"{name}: {message}", reason=reason)
                case Missing():
                    await self._signer.submit(name, request)
                case Waiting():
                    pass
            await asyncio.sleep(self._poll.next())
        return None

    async def _request_key(self) -> bytes:
        """The key of the open request: kept, so that an approval given while we were down is not lost."""
        try:
            key = await files.read(self._pending_key)
            await asyncio.to_thread(pki.key_digest, key)
        except (OSError, ValueError, TypeError):
            key = await asyncio.to_thread(pki.new_key)
            await files.write_private(self._pending_key, key)
        return key


def _request_name(key: bytes, node: str, names: pki.Names) -> str:
    return f"kubelet-bridge-{node[:180]}-{pki.key_digest(key)[:12]}-{pki.names_digest(names)[:8]}"
