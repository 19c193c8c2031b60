"""What the work of CDI's Pods has to ask the API server for."""

from collections.abc import Mapping

import msgspec

from kubelet_bridge.devcluster.devhost.node import node_headers
from kubelet_bridge.errors import Transient
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.core import Pod, Secret
from kubelet_bridge.model.resources import PODS, SECRETS

_SERVICE_LABEL = "service"
"""CDI's upload servers carry the name of their Service in it (pkg/common, UploadServerServiceLabel)."""


class _Pods(msgspec.Struct):
    items: list[Pod] = []


class Lookups:
    """Asks as the node ``node`` where that is enough."""

    def __init__(self, client: Client, node: str) -> None:
        self._client = client
        self._headers = node_headers(node)

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        """The data of a Secret that a Pod of this node names. Raises ``ApiError``."""
        raw = await self._client.get(SECRETS, namespace, name, headers=self._headers)
        return msgspec.json.decode(raw, type=Secret).data

    async def server_address(self, namespace: str, service: str) -> str:
        """Where the upload server behind ``service`` runs: nobody here resolves a Service's name.

        Raises:
            Transient: it does not run.
        """
        raw = await self._client.list(PODS, namespace, label_selector=f"{_SERVICE_LABEL}={service}")
        for pod in msgspec.json.decode(raw, type=_Pods).items:
            if pod.status.phase == "Running" and pod.status.pod_ip:
                return pod.status.pod_ip
        raise Transient(f"no Pod of {namespace}/{service} runs", reason="NoServer")
