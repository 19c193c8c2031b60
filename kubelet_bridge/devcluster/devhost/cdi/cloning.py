"""The source of a host-assisted clone: sends a claim's disk to the upload server of the target."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from ssl import SSLContext
from urllib.parse import urlsplit

import aiohttp

from kubelet_bridge.aio import files
from kubelet_bridge.devcluster.devhost.cdi.importer import Progress
from kubelet_bridge.devcluster.devhost.cdi.uploading import CLONES, CONTENT_TYPE
from kubelet_bridge.devcluster.devhost.cdi.work import Clone
from kubelet_bridge.devcluster.devhost.storage.claimed import ClaimedImage
from kubelet_bridge.errors import Terminal, Transient

_BLOCK = 1 << 20
_PATIENCE = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=600.0)
"""The answer comes when the target has the disk on its own volume."""


def service(url: str) -> tuple[str, str]:
    """Namespace and name of the Service in ``https://NAME.NAMESPACE.svc:PORT/…``.

    Raises:
        Terminal: it is another URL.
    """
    name, _, rest = (urlsplit(url).hostname or "").partition(".")
    namespace, _, domain = rest.partition(".")
    if not name or not namespace or domain.partition(".")[0] != "svc":
        raise Terminal(f"{url!r} is no URL of a Service", reason="BadUrl")
    return namespace, name


async def send(work: Clone, image: ClaimedImage, address: str, tls: SSLContext, progress: Progress) -> None:
    """Send the disk to the server whose Pod has ``address``; return when it has it.

    Raises:
        Transient: it did not take it.
    """
    url = urlsplit(work.url)
    kind = CLONES[0] if image.block else CLONES[1]
    headers = {CONTENT_TYPE: kind, "Content-Length": str(await asyncio.to_thread(_size, image.path))}
    try:
        async with (
            contextlib.aclosing(_blocks(image.path, progress)) as blocks,
            aiohttp.ClientSession(timeout=_PATIENCE) as http,
            http.post(
                f"https://{address}:{url.port}{url.path}",
                data=blocks,
                headers=headers,
                ssl=tls,
                server_hostname=url.hostname,
            ) as response,
        ):
            if response.status != 200:
                said = (await response.text())[:300]
                raise Transient(f"the target answered {response.status}: {said}", reason="Refused")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Transient(f"the target cannot be reached: {error}", reason="Unreachable") from error


def _size(path: Path) -> int:
    """Raises ``Terminal`` when a filesystem volume holds no disk."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        raise Terminal("the source volume holds no disk", reason="NoDisk") from None


async def _blocks(path: Path, progress: Progress) -> AsyncGenerator[bytes, None]:
    total, sent = max(1, await asyncio.to_thread(_size, path)), 0
    async with files.opened(path, "rb") as file:
        while block := await asyncio.to_thread(file.read, _BLOCK):
            yield block
            sent += len(block)
            progress(min(99.0, 100.0 * sent / total))
