"""Whose token this is, and who may: the API server's reviews, as the kubelet API asks for them."""

import msgspec

from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.access import Attributes, User
from kubelet_bridge.model.resources import NODES, SUBJECTACCESSREVIEWS, TOKENREVIEWS


class _TokenStatus(msgspec.Struct, frozen=True):
    authenticated: bool = False
    user: User = User()


class _TokenReview(msgspec.Struct, frozen=True):
    status: _TokenStatus = _TokenStatus()


class _AccessStatus(msgspec.Struct, frozen=True):
    allowed: bool = False
    denied: bool = False


class _AccessReview(msgspec.Struct, frozen=True):
    status: _AccessStatus = _AccessStatus()


class Reviews:
    """Asks ``client``'s API server about requests to the Node ``node``. Needs the rights of system:auth-delegator."""

    def __init__(self, client: Client, node: str, *, timeout: float = 10.0) -> None:
        self._client = client
        self._node = node
        self._timeout = timeout

    async def token(self, token: str) -> User | None:
        """Whose token it is, or None when it is nobody's."""
        answer = await self._post(
            {
                "apiVersion": TOKENREVIEWS.api_version,
                "kind": TOKENREVIEWS.kind,
                "spec": {"token": token},
            },
            TOKENREVIEWS.path(),
            TOKENREVIEWS.plural,
        )
        status = msgspec.json.decode(answer, type=_TokenReview).status
        return status.user if status.authenticated and status.user.name else None

    async def access(self, user: User, wanted: Attributes) -> bool:
        """Whether ``user`` may do that to our Node."""
        asked = {
            "verb": wanted.verb,
            "version": NODES.version,
            "resource": NODES.plural,
            "subresource": wanted.subresource,
            "name": self._node,
        }
        spec = {
            "user": user.name,
            "uid": user.uid,
            "groups": user.groups,
            "extra": user.extra,
            "resourceAttributes": asked,
        }
        answer = await self._post(
            {"apiVersion": SUBJECTACCESSREVIEWS.api_version, "kind": SUBJECTACCESSREVIEWS.kind, "spec": spec},
            SUBJECTACCESSREVIEWS.path(),
            SUBJECTACCESSREVIEWS.plural,
        )
        status = msgspec.json.decode(answer, type=_AccessReview).status
        return status.allowed and not status.denied

    async def _post(self, review: object, path: str, plural: str) -> bytes:
        body = msgspec.json.encode(review)
        return await self._client.request("POST", path, body=body, timeout=self._timeout, label=("create", plural))
