"""Certificates that the cluster gives: ours, by a signing request, and the authority of its clients."""

import contextlib
from typing import Any

import msgspec

from kubelet_bridge.errors import AlreadyExists, Conflict, NotFound
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


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    request: bytes = b""
    signer_name: str = ""


class _Request(msgspec.Struct, frozen=True):
    spec: _Spec = _Spec()
    status: _Status = _Status()


class ServingSigner:
    """The signer ``kubernetes.io/kubelet-serving``; anyone who may create signing requests may ask it.

    With ``approve`` what was submitted here is approved here too, and nothing else is.
    """

    def __init__(self, client: Client, *, approve: bool = False) -> None:
        self._client = client
        self._approve = approve
        self._submitted: dict[str, bytes] = {}

    async def submit(self, name: str, request: bytes) -> None:
        """Create the signing request ``name`` for a PEM CSR, unless it is there."""
        self._submitted = {name: request}
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
        found = msgspec.json.decode(body, type=_Request)
        for condition in found.status.conditions:
            if condition.type in _FINAL and condition.status == "True":
                return Refused(condition.reason or condition.type, condition.message)
        if found.status.certificate:
            return Issued(found.status.certificate)
        if self._approve and not found.status.conditions and self._is_ours(name, found.spec):
            await self._approved(name, body)
        return Waiting()

    def _is_ours(self, name: str, spec: _Spec) -> bool:
        return spec.signer_name == KUBELET_SERVING and spec.request == self._submitted.get(name)

    async def _approved(self, name: str, body: bytes) -> None:
        """Another's write in between is answered with 409: the next look decides."""
        request: dict[str, Any] = msgspec.json.decode(body)
        condition = {
            "type": "Approved", "status": "True", "reason": "KubeletBridgeApprove",
            "message": "approved by the kubelet-bridge that asks for it",
        }  # fmt: skip
        request["status"] = {**request.get("status", {}), "conditions": [condition]}
        with contextlib.suppress(Conflict, NotFound):
            await self._client.replace(CERTIFICATESIGNINGREQUESTS, None, name, request, subresource="approval")


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
