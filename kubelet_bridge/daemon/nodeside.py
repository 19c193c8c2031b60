"""What the Node says of itself: where it is, what it offers, and how the parts behind it are."""

import asyncio
import hashlib
import socket
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import structlog
from yarl import URL

from kubelet_bridge import __version__
from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.errors import ApiError, Forbidden, NotFound, SettingsError
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.informer import Informer
from kubelet_bridge.model.core import Node, NodeAddress
from kubelet_bridge.model.quantity import Quantity
from kubelet_bridge.model.resources import NODES
from kubelet_bridge.node.health import Availability
from kubelet_bridge.settings import Settings, address
from kubelet_bridge.store.database import Database
from kubelet_bridge.translate import nodestatus

log = structlog.get_logger(__name__)

KUBEVIRT_VERSION = "/apis/subresources.kubevirt.io/v1/version"
ANY = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound to


class _Version(msgspec.Struct, rename="camel"):
    git_version: str = ""


async def node_ip(settings: Settings, api_server: str) -> str:
    """The address that the API server is told to reach us at.

    Raises:
        SettingsError: it cannot be told from anything; ``node_ip`` has to be set.
    """
    if settings.node_ip:
        return settings.node_ip
    host, _ = address("listen", settings.listen)
    if host not in ANY:
        return host
    url = URL(api_server)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(url.host, url.port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, target = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setblocking(False)
            probe.connect(target)  # UDP: chooses the route, sends nothing
            return str(probe.getsockname()[0])
    except OSError as error:
        raise SettingsError(f"node_ip: cannot tell our address towards {api_server}: {error}") from error


async def kubevirt_version(client: Client) -> str:
    """KubeVirt's version, which its API answers only while it works. Raises ``ApiError``."""
    body = await client.request("GET", KUBEVIRT_VERSION, timeout=8.0, label=("get", "version"))
    return msgspec.json.decode(body, type=_Version).git_version


class NodeSide:
    """Builds the status of our Node from what the parts know now. Nothing here talks to anybody while it is asked."""

    def __init__(
        self, settings: Settings, client: Client, database: Database, vms: Callable[[], int], ip: str,
        guests: Callable[[], nodestatus.Trouble | None] = lambda: None,
    ) -> None:  # fmt: skip
        self.hosts = Informer(client, NODES, label_selector="kubevirt.io/schedulable=true")
        self.availability = Availability()
        self.facts = nodestatus.NodeFacts(
            addresses=[NodeAddress("InternalIP", ip)],
            port=0,
            machine_id=hashlib.sha256(settings.node_name.encode()).hexdigest()[:32],
            server_version="",
            bridge_version=__version__,
            architecture=settings.architecture,
        )
        self._settings = settings
        self._client = client
        self._database = database
        self._vms = vms
        self._guests = guests

    async def learn(self, port: int) -> None:
        """Wait until the API server has told its version, which ours is compared with; then it stays the same."""
        backoff = Backoff(base=0.5, cap=15.0)
        while not self.facts.server_version:
            try:
                body = await self._client.request("GET", "/version", label=("get", "version"))
            except ApiError as error:
                delay = backoff.next()
                log.warning("the API server does not answer", error=str(error), retry_in=round(delay, 1))
                await asyncio.sleep(delay)
                continue
            version = msgspec.json.decode(body, type=_Version).git_version
            self.facts = msgspec.structs.replace(self.facts, server_version=version or "v0.0.0", port=port)

    async def probe(self) -> None:
        """Ask KubeVirt; raises ``ApiError`` when it does not answer as it should."""
        try:
            version = await kubevirt_version(self._client)
        except (Forbidden, NotFound):  # we may not know its version; it is there if its resources can be listed
            version = ""
        self.facts = msgspec.structs.replace(self.facts, kubevirt_version=version)

    def status(self, _now: datetime) -> dict[str, Any]:
        """The Node's status, all but Ready and times."""
        return nodestatus.build(self.facts, self._offered(), self._health())

    def addresses(self) -> list[str]:
        """By what clients reach us: our addresses and the Node's name."""
        return [*(one.address for one in self.facts.addresses), self._settings.node_name]

    def maximum_pods(self) -> int:
        """How many Pods the Node takes, as its capacity says."""
        return int(Quantity.parse(self._offered().capacity["pods"]).value)

    def _offered(self) -> nodestatus.Resources:
        settings = self._settings
        return nodestatus.resources(
            [msgspec.json.decode(one.raw, type=Node) for one in self.hosts.all()],
            virtual_machines=self._vms(), overhead=Quantity.parse(settings.vm_overhead),
            configured={
                "cpu": settings.capacity_cpu, "memory": settings.capacity_memory,
                "ephemeral-storage": settings.capacity_storage, "pods": settings.capacity_pods,
            },
        )  # fmt: skip

    def _health(self) -> nodestatus.Health:
        kubevirt = self.availability.condition()
        return nodestatus.Health(
            kubevirt=None if kubevirt["status"] == "True"
            else nodestatus.Trouble(kubevirt["reason"], kubevirt["message"]),
            guests=self._guests(),
            intent_store=None if self._database.healthy
            else nodestatus.Trouble("IntentStoreUnavailable", self._database.problem),
        )  # fmt: skip
