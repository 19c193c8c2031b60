"""Copying an OCI layout into a registry (distribution specification, "Pushing manifests")."""

import asyncio
import io
from pathlib import Path

import aiohttp
from yarl import URL

from kubelet_bridge.devcluster.images import oci
from kubelet_bridge.errors import Terminal


async def push(layout: Path, registry: str, repository: str, tag: str) -> None:
    """Copy the image in ``layout`` to ``http://REGISTRY``, without what of it is there already.

    Args:
        layout: an OCI layout of one image.
        registry: ``ADDRESS:PORT``.
        repository: such as ``docker.io/library/nginx``.
        tag: what to call it there.

    Raises:
        Terminal: the registry refuses, or does not answer.
    """
    content, manifest = await asyncio.to_thread(oci.read_manifest, layout)
    url = f"http://{registry}/v2/{repository}"
    try:
        async with aiohttp.ClientSession() as http:
            for descriptor in (*manifest.layers, manifest.config):
                await _push_blob(http, url, layout, descriptor.digest)
            headers = {"Content-Type": oci.MANIFEST}
            async with http.put(f"{url}/manifests/{tag}", data=content, headers=headers) as answer:
                answer.raise_for_status()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Terminal(f"pushing {repository}:{tag} to {registry}: {error}") from error


async def _push_blob(http: aiohttp.ClientSession, url: str, layout: Path, digest: str) -> None:
    async with http.head(f"{url}/blobs/{digest}") as answer:
        if answer.status == 200:
            return
    async with http.post(f"{url}/blobs/uploads/") as started:
        started.raise_for_status()
        place = started.url.join(URL(started.headers["Location"]))
    content = await asyncio.to_thread(oci.blob(layout, digest).read_bytes)
    async with http.put(place.update_query(digest=digest), data=io.BytesIO(content)) as answer:
        answer.raise_for_status()
