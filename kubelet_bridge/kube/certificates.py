"""Certificates that the cluster gives: ours, by a signing request, and the authority of its clients."""

import msgspec

from kubelet_bridge.errors import AlreadyExists, NotFound
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.access import Issued, Missing, Refused, SigningAnswer, Waiting
from kubelet_bridge.model.core import ConfigMap
from kubelet_bridge.model.meta import LABEL_MANAGED_BY, MANAGED_BY
from kubelet_bridge.model.resources import CERTIFICATESIGNINGREQUESTS, CONFIGMAPS

KUBELET_SERVING = "kubernetes.io/kubelet-serving"
_USAGES = ["digital signature", "server auth"]  # without "key encipherment": that is for RSA keys
_FINAL = ("Denied", "Failed")


class _Condition(msgspec.Struct, frozen=True):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class _Status(msgspec.Struct, frozen=True):
    certificate: bytes = b""
    conditions: list[_Condition] = []


class _Request(msgspec.Struct, frozen=True):
    status: _Status = _Status()


class ServingSigner:
    """The signer ``kubernetes.io/kubelet-serving``; anyone who may create signing requests may ask it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def submit(self, name: str, request: bytes) -> None:
        """Create the signing request ``name`` for a PEM CSR, unless it is there."""
        body = {
            "apiVersion": CERTIFICATESIGNINGREQUESTS.api_version,
            "kind": CERTIFICATESIGNINGREQUESTS.kind,
            "metadata": {"name": name, "labels": {LABEL_MANAGED_BY: MANAGED_BY}},
            "spec": {"signerName": KUBELET_SERVING, "request": request, "usages": _USAGES},
        }
        try:
            await self._client.create(CERTIFICATESIGNINGREQUESTS, None, body)
        except AlreadyExists:
            return

    async def answer(self, name: str) -> SigningAnswer:
        """What has become of it."""
        try:
            body = await self._client.get(CERTIFICATESIGNINGREQUESTS, None, name)
        except NotFound:
            return Missing()
        status = msgspec.json.decode(body, type=_Request).status
        for condition in status.conditions:
            if condition.type in _FINAL and condition.status == "True":
                return Refused(condition.reason or condition.type, condition.message)
        return Issued(status.certificate) if status.certificate else Waiting()


async def client_authority(client: Client) -> bytes:
    """The PEM certificates that the API server itself accepts client certificates of.

    Readable with the role extension-apiserver-authentication-reader in kube-system. Raises ``ApiError``; ``NotFound``
    when the cluster does not publish it.
    """
    body = await client.get(CONFIGMAPS, "kube-system", "extension-apiserver-authentication")
    pem = msgspec.json.decode(body, type=ConfigMap).data.get("client-ca-file", "")
    if not pem:
        raise NotFound(404, "NotFound", "extension-apiserver-authentication has no client-ca-file")
    return pem.encode()
