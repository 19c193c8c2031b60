"""Where the API server is and how to prove who we are: a kubeconfig, or the Pod's own ServiceAccount."""

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog

from kubelet_bridge.errors import SettingsError
from kubelet_bridge.kube import kubeconfig as kubeconfigs

log = structlog.get_logger(__name__)

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TOKEN_MAX_AGE = 60.0
_RENEW_EVERY = 10.0

Authorization = Callable[[], Awaitable[str | None]]
"""The ``Authorization`` header to send now; None when a client certificate says who we are."""
Renew = Callable[[], Awaitable[None]]
"""Reads everything again from where it came; raises ``SettingsError`` or ``OSError``."""


class Credentials:
    """A base URL, a TLS context that verifies the server, and the header that names us."""

    def __init__(
        self, base_url: str, tls: ssl.SSLContext | None, authorization: Authorization, renew: Renew | None = None
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.tls = tls
        self.authorization = authorization
        self._renew = renew
        self._renewing = asyncio.Lock()
        self._renewed_at = -_RENEW_EVERY

    async def renew(self, refused: str | None) -> bool:
        """Read the credentials again, because the API server does not know ``refused``; whether to ask it once more.

        Many requests may be refused at once: one of them reads, and not more than once in ten seconds.
        """
        async with self._renewing:
            if await self.authorization() != refused:
                return True
            now = asyncio.get_running_loop().time()
            if self._renew is None or now - self._renewed_at < _RENEW_EVERY:
                return False
            self._renewed_at = now
            try:
                await self._renew()
            except (SettingsError, OSError) as error:
                log.warning("the credentials cannot be read again", error=str(error))
                return False
            return True


async def load(kubeconfig: Path | None = None, *, context: str | None = None) -> Credentials:
    """Read ``kubeconfig``, or the in-cluster ServiceAccount when it is None.

    Raises:
        SettingsError: the file is missing or says nothing usable, or we are not in a cluster.
    """
    if kubeconfig is None:
        return await _in_cluster()
    configuration = await kubeconfigs.load(kubeconfig, context)
    tls = await asyncio.to_thread(_tls_context, configuration)

    async def authorization() -> str | None:
        header = configuration.api_key.get("BearerToken")  # so it is called, whether it holds "Bearer …" or "Basic …"
        return str(header) if header else None

    async def renew() -> None:
        nonlocal configuration
        configuration = await kubeconfigs.load(kubeconfig, context)
        if tls is not None:
            await asyncio.to_thread(_present, tls, configuration)

    return Credentials(configuration.host, tls, authorization, renew)


def _tls_context(configuration: Any) -> ssl.SSLContext | None:
    if not str(configuration.host).startswith("https"):
        return None
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    _present(context, configuration)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    # Go's and kubeadm's CAs often lack extensions that OpenSSL's strict mode (the default from Python 3.13) demands.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _present(context: ssl.SSLContext, configuration: Any) -> None:
    """Use the configuration's client certificate, if it has one, for new connections."""
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)


async def _in_cluster() -> Credentials:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise SettingsError("no kubeconfig given, and not running in a cluster (KUBERNETES_SERVICE_HOST is not set)")
    try:
        tls = await asyncio.to_thread(ssl.create_default_context, cafile=str(SERVICE_ACCOUNT / "ca.crt"))
        token = _TokenFile(SERVICE_ACCOUNT / "token")
        await token.refresh()
    except OSError as error:
        raise SettingsError(f"in-cluster credentials: {error}") from error
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    where = f"https://{f'[{host}]' if ':' in host else host}:{port}"
    return Credentials(where, tls, token.authorization, token.refresh)


class _TokenFile:
    """A projected token: it is replaced on disk well before it expires."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = ""
        self._read_at = 0.0

    async def refresh(self) -> None:
        """Raises ``OSError``."""
        self._token = (await asyncio.to_thread(self._path.read_text)).strip()
        self._read_at = asyncio.get_running_loop().time()

    async def authorization(self) -> str:
        if asyncio.get_running_loop().time() - self._read_at > _TOKEN_MAX_AGE:
            try:
                await self.refresh()
            except OSError as error:  # the one we have may still be good for a while
                log.warning("the ServiceAccount token cannot be read again", error=str(error))
        return f"Bearer {self._token}"
