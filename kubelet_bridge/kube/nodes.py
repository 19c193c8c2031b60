"""Our Node and its Lease on the API server: the verbs ``node`` needs, and no rule about either."""

from kubelet_bridge.kube.client import Client, PatchType
from kubelet_bridge.model.resources import LEASES, NODES

LEASE_NAMESPACE = "kube-node-lease"


class NodeObjects:
    """Requests about the Node ``name`` and the Lease of that name; answers are the objects as the server has them."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name

    async def get_node(self) -> bytes:
        """The Node."""
        return await self._client.get(NODES, None, self._name)

    async def create_node(self, node: object) -> bytes:
        """A new Node, with its status."""
        return await self._client.create(NODES, None, node)

    async def patch_node(self, patch: object) -> bytes:
        """Strategic merge patch of metadata and spec."""
        return await self._client.patch(NODES, None, self._name, patch, kind=PatchType.STRATEGIC)

    async def patch_node_status(self, patch: object) -> bytes:
        """Strategic merge patch of the status."""
        return await self._client.patch(NODES, None, self._name, patch, kind=PatchType.STRATEGIC, subresource="status")

    async def get_lease(self) -> bytes:
        """The Lease."""
        return await self._client.get(LEASES, LEASE_NAMESPACE, self._name)

    async def create_lease(self, lease: object) -> bytes:
        """A new Lease."""
        return await self._client.create(LEASES, LEASE_NAMESPACE, lease)

    async def replace_lease(self, lease: object) -> bytes:
        """The Lease, if its resourceVersion is still the one given."""
        return await self._client.replace(LEASES, LEASE_NAMESPACE, self._name, lease)
