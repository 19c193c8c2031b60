"""The certificate we serve with, from files or made by ourselves. ``signing`` has the one the cluster signs."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from kubelet_bridge.aio import files
from kubelet_bridge.errors import SettingsError
from kubelet_bridge.kubelet_api import pki

log = structlog.get_logger(__name__)

Addresses = Callable[[], Iterable[str]]
"""By which addresses and names of our Node clients may call us, now."""
Changed = Callable[[], None]

SELF_SIGNED_LIFETIME = timedelta(days=365)
_LOOK_AGAIN = 30.0


class KeyPair(msgspec.Struct, frozen=True):
    """Where certificate chain and key are; one file may hold both. Python's ``ssl`` reads files only."""

    certificate: Path
    key: Path


class ServingCertificate(Protocol):
    """Something to serve with, from ``start`` on, that may be replaced while we run."""

    @property
    def pair(self) -> KeyPair:
        """What to serve with now."""

    async def start(self) -> None:
        """See to it that ``pair`` can be loaded."""

    async def run(self, changed: Changed) -> None:
        """Keep it valid for ever, and call ``changed`` when ``pair`` is another or its files are."""


def now_utc() -> datetime:
    """The time of day; certificates know no other clock."""
    return datetime.now(UTC)


class FileCertificate:
    """Two files that somebody else keeps up to date, a mounted Secret for instance."""

    def __init__(self, pair: KeyPair, *, look_again: float = _LOOK_AGAIN) -> None:
        self.pair = pair
        self._look_again = look_again
        self._seen: object = None

    async def start(self) -> None:
        """Read them once.

        Raises:
            SettingsError: they are missing or do not belong together.
        """
        if (fault := await self._fault()) is not None:
            raise SettingsError(f"serving certificate: {fault}")
        self._seen = await files.fingerprint(self.pair.certificate, self.pair.key)

    async def run(self, changed: Changed) -> None:
        """Look every half minute; while they are being replaced and do not fit, the loaded ones stay."""
        while True:
            await asyncio.sleep(self._look_again)
            seen = await files.fingerprint(self.pair.certificate, self.pair.key)
            if seen == self._seen:
                continue
            if (fault := await self._fault()) is not None:
                log.warning("the serving certificate's files changed and cannot be used", fault=fault)
                continue
            self._seen = seen
            changed()

    async def _fault(self) -> str | None:
        try:
            certificate, key = await files.read(self.pair.certificate), await files.read(self.pair.key)
            fits = await asyncio.to_thread(pki.belong_together, certificate, key)
        except (OSError, ValueError, TypeError) as error:
            return str(error)
        return None if fits else f"{self.pair.certificate} is not for the key in {self.pair.key}"


class SelfSignedCertificate:
    """A certificate of our own making, kept over restarts, made anew when it ends or our addresses change."""

    def __init__(
        self, directory: Path, node: str, addresses: Addresses, *, clock: Callable[[], datetime] = now_utc,
        look_again: float = _LOOK_AGAIN,
    ) -> None:  # fmt: skip
        path = directory / "kubelet-self-signed.pem"
        self.pair = KeyPair(path, path)
        self._node, self._addresses, self._clock, self._look_again = node, addresses, clock, look_again

    async def start(self) -> None:
        """Make one, or take the one that is there."""
        await self.refresh()

    async def run(self, changed: Changed) -> None:
        """Make another in time."""
        while True:
            await asyncio.sleep(self._look_again)
            if await self.refresh():
                changed()

    async def refresh(self) -> bool:
        """Make another if the one on disk will not do for much longer; whether it was made."""
        names = pki.Names.of(self._addresses())
        if await usable(self.pair, self._node, names, self._clock() + SELF_SIGNED_LIFETIME / 10):
            return False
        await files.write_private(self.pair.certificate, await asyncio.to_thread(self._make, names))
        return True

    def _make(self, names: pki.Names) -> bytes:
        key = pki.new_key()
        return key + pki.self_signed(key, self._node, names, now=self._clock(), lifetime=SELF_SIGNED_LIFETIME)


async def usable(pair: KeyPair, node: str, names: pki.Names, until: datetime) -> bool:
    """Whether the files hold a certificate for ``node`` that names all of ``names`` and lasts beyond ``until``."""
    try:
        certificate, key = await files.read(pair.certificate), await files.read(pair.key)
        found = await asyncio.to_thread(pki.leaf, certificate)
        fits = await asyncio.to_thread(pki.belong_together, certificate, key)
    except (OSError, ValueError, TypeError):
        return False
    return fits and found.common_name == pki.common_name(node) and found.names.covers(names) and found.not_after > until
