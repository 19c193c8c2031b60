"""The image catalogue as it is now: what is packaged, and over it the cluster's ConfigMap, looked at every half minute.

What cannot be read, or is wrong, is no reason to go back to what is packaged: the cluster may have replaced it on
purpose. The last good one stays for names, and no disk is made of it until somebody mends the other.
"""

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from kubelet_bridge.aio.tasks import every
from kubelet_bridge.daemon.ownnamespace import own_namespace
from kubelet_bridge.errors import BridgeError, NotFound
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.core import ConfigMap
from kubelet_bridge.model.resources import CONFIGMAPS
from kubelet_bridge.settings import Settings
from kubelet_bridge.translate.catalogue import packaged
from kubelet_bridge.translate.catalogue.parse import InvalidCatalogue, parse
from kubelet_bridge.translate.config import ImageDisks

log = structlog.get_logger(__name__)

KEY = "images.yaml"
REFRESH_EVERY = 30.0


class ImageCatalogue:
    """One per node; ``changed`` is called with each new state after the first."""

    def __init__(self, client: Client, settings: Settings, changed: Callable[[ImageDisks], None]) -> None:
        self._client = client
        self._settings = settings
        self._changed = changed
        self._packaged = ""
        self._override: str | None = None
        self._disks: ImageDisks | None = None
        self._turn = asyncio.Lock()  # two that read at once would take each other's override for known

    async def current(self) -> ImageDisks:
        """The state now; what is wrong with it is in it."""
        if self._disks is not None:
            return self._disks
        async with self._turn:
            return await self._known()

    async def _known(self) -> ImageDisks:
        if self._disks is None:
            self._packaged = await asyncio.to_thread(packaged.text)
            settings = self._settings
            untouched = ImageDisks(
                catalogue=parse(self._packaged), namespace=settings.images_namespace or await own_namespace(settings),
                storage_class=settings.images_storage_class,
                ready_made_in=tuple(filter(None, map(str.strip, settings.images_ready_made_in.split(",")))),
            )  # fmt: skip
            self._disks = await self._with_override(untouched)
        return self._disks

    async def run(self) -> None:
        """Follow the ConfigMap for ever."""
        await every(REFRESH_EVERY, self.refresh, jitter=0.1)

    async def refresh(self) -> None:
        """Look at the ConfigMap again."""
        async with self._turn:
            before = await self._known()
            self._disks = now = await self._with_override(before)
        if now != before:
            self._changed(now)

    async def _with_override(self, disks: ImageDisks) -> ImageDisks:
        where = f"ConfigMap {await own_namespace(self._settings)}/{self._settings.images_config_map}"
        try:
            override = await self._read()
            if override == self._override:
                return msgspec.structs.replace(disks, trouble="")
            made = await asyncio.to_thread(parse, self._packaged, override, where=where)
        except InvalidCatalogue as error:
            return self._troubled(disks, error.message)
        except BridgeError as error:
            return self._troubled(disks, f"{where}: {error.message}")
        self._override = override
        log.info("the image catalogue was read", images=len(made.images), overridden=bool(override))
        return msgspec.structs.replace(disks, catalogue=made, trouble="")

    def _troubled(self, disks: ImageDisks, trouble: str) -> ImageDisks:
        if disks.trouble != trouble:
            log.warning("the image catalogue cannot be used", error=trouble)
        return msgspec.structs.replace(disks, trouble=trouble)

    async def _read(self) -> str:
        """The text of the override; empty where there is none."""
        if not self._settings.images_config_map:
            return ""
        namespace = await own_namespace(self._settings)
        try:
            raw = await self._client.get(CONFIGMAPS, namespace, self._settings.images_config_map)
        except NotFound:
            return ""
        return msgspec.json.decode(raw, type=ConfigMap).data.get(KEY, "")
