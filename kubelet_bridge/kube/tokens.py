"""Tokens of ServiceAccounts for Pods, by the TokenRequest API; each is renewed when most of its life is over.

Source of the times: ``requiresRefresh`` in ``pkg/kubelet/token/token_manager.go``: at 80 % of its life, or after a day.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from kubelet_bridge.errors import NotFound
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.resources import SERVICEACCOUNTS
from kubelet_bridge.model.snapshot import TokenWanted

_LONGEST = timedelta(hours=24)
_LIFE = 0.8


class _Status(msgspec.Struct, rename="camel"):
    token: str
    expiration_timestamp: datetime


class _TokenRequest(msgspec.Struct):
    status: _Status


class _Held(msgspec.Struct, frozen=True):
    token: str
    renew_at: datetime
    expires_at: datetime


def _utc_now() -> datetime:
    return datetime.now(UTC)


class TokenRequester:
    """One per node. Tokens are held in memory only."""

    def __init__(self, client: Client, clock: Callable[[], datetime] = _utc_now) -> None:
        self._client = client
        self._clock = clock
        self._held: dict[tuple[str, TokenWanted], _Held] = {}

    async def token(self, pod: Pod, wanted: TokenWanted) -> str | None:
        """A token for the Pod; None when the Pod or its ServiceAccount is not there.

        Raises:
            ApiError: the API server gives none now.
        """
        key, now = (pod.metadata.uid, wanted), self._clock()
        held = self._held.get(key)
        if held is not None and now < held.renew_at:
            return held.token
        self._held = {one: found for one, found in self._held.items() if now < found.expires_at}
        try:
            fresh = await self._request(pod, wanted, now)
        except NotFound:
            return None
        self._held[key] = fresh
        return fresh.token

    async def _request(self, pod: Pod, wanted: TokenWanted, now: datetime) -> _Held:
        account = pod.spec.service_account_name or "default"
        spec = {
            "audiences": [wanted.audience] if wanted.audience else [],
            "expirationSeconds": wanted.expiration_seconds,
            "boundObjectRef": {
                "apiVersion": "v1", "kind": "Pod", "name": pod.metadata.name, "uid": pod.metadata.uid,
            },
        }  # fmt: skip
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = SERVICEACCOUNTS.path(pod.metadata.namespace, account, "token")
        raw = await self._client.request(
            "POST", path, body=msgspec.json.encode(body), label=("create", "serviceaccounts/token")
        )
        status = msgspec.json.decode(raw, type=_TokenRequest).status
        life = min((status.expiration_timestamp - now) * _LIFE, _LONGEST)
        return _Held(status.token, now + life, status.expiration_timestamp)
