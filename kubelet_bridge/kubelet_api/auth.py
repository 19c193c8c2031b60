"""Who calls, and whether they may. The API server decides; its answers are kept for a while. Nobody is anonymous.

A kubelet answers 401 when a token cannot be reviewed and 500 when access cannot be; here both are
``ReviewUnavailable``, a 503: nothing is wrong with the caller's credentials, and trying again is right.
"""

import base64
import hashlib
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import msgspec
import structlog

from kubelet_bridge.errors import ApiError, Transient
from kubelet_bridge.kubelet_api.reviewcache import ReviewCache
from kubelet_bridge.model.access import Attributes, User

log = structlog.get_logger(__name__)

AUTHENTICATED = "system:authenticated"
# Lifetimes in seconds: the kubelet's defaults (authentication.webhook, authorization.webhook), refused tokens excepted.
TOKEN_KNOWN, TOKEN_UNKNOWN = 120.0, 30.0
ACCESS_ALLOWED, ACCESS_DENIED = 300.0, 30.0

BEARER_PROTOCOL = "base64url.bearer.authorization.k8s.io."
"""What a subprotocol begins with that is a token; the rest is the token in base64url."""

TokenReviewer = Callable[[str], Awaitable[User | None]]
"""Whose token this is, or None; raises ``ApiError`` when there is no answer."""
AccessReviewer = Callable[[User, Attributes], Awaitable[bool]]
"""Whether the user may; raises ``ApiError`` when there is no answer."""


class ReviewUnavailable(Transient):
    """The API server cannot be asked, and no answer of before is still valid."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="ReviewUnavailable", retry_after=5.0)


def certificate_user(certificate: Mapping[str, Any] | None, now: float) -> User | None:
    """Who a client certificate names, as the API server reads one: CN is the user, each O a group.

    ``certificate`` has the form of ``SSLSocket.getpeercert()`` and was verified in the handshake; that may be long ago
    on a connection kept open, so its end is looked at again.
    """
    if not certificate or ssl.cert_time_to_seconds(certificate["notAfter"]) <= now:
        return None
    subject = [pair for name in certificate.get("subject", ()) for pair in name]
    names = [value for key, value in subject if key == "commonName" and value]
    if not names:
        return None
    groups = [value for key, value in subject if key == "organizationName"]
    return User(name=names[-1], groups=tuple(dict.fromkeys([*groups, AUTHENTICATED])))


def bearer_token(authorization: str | None) -> str | None:
    """The token in an Authorization header. What is not UTF-8 (aiohttp keeps it as surrogates) is nobody's."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() != "bearer" or any("\ud800" <= one <= "\udfff" for one in token):
        return None
    return token.strip() or None


def socket_token(offered: str | None) -> str | None:
    """The token among the subprotocols of a WebSocket: browsers can send none in a header.

    As apiserver/pkg/authentication/request/websocket/protocol.go, which a kubelet uses too: one, and not alone.
    """
    names = [name.strip() for name in (offered or "").split(",")]
    tokens = [name.removeprefix(BEARER_PROTOCOL) for name in names if name.startswith(BEARER_PROTOCOL)]
    if len(tokens) != 1 or len(names) < 2:
        return None
    try:
        padded = tokens[0] + "=" * (-len(tokens[0]) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode() or None
    except ValueError:
        return None


class Authenticator:
    """Client certificate first, then bearer token."""

    def __init__(self, review: TokenReviewer, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._review = review
        self._wall_clock = wall_clock
        self._tokens: ReviewCache[User | None] = ReviewCache(lambda user: TOKEN_KNOWN if user else TOKEN_UNKNOWN)

    async def authenticate(
        self, certificate: Mapping[str, Any] | None, authorization: str | None, offered: str | None = None
    ) -> User | None:
        """Who it is, or None. ``offered`` are the subprotocols of a WebSocket that is asked for.

        Raises:
            ReviewUnavailable: there is a token, and nobody to ask about it.
        """
        if (user := certificate_user(certificate, self._wall_clock())) is not None:
            return user
        token = bearer_token(authorization) or socket_token(offered)
        if token is None:
            return None
        digest = hashlib.sha256(token.encode()).digest()  # tokens are not kept in memory for longer than a request
        try:
            return await self._tokens.get(digest, lambda: self._review(token))
        except ApiError as error:
            log.warning("a token could not be reviewed", error=str(error))
            raise ReviewUnavailable("the API server cannot be asked whose token this is") from error


class Authorizer:
    """Asks for each alternative in turn; the first that is allowed wins, and one that is known to be asks nobody."""

    def __init__(self, review: AccessReviewer) -> None:
        self._review = review
        self._answers: ReviewCache[bool] = ReviewCache(lambda allowed: ACCESS_ALLOWED if allowed else ACCESS_DENIED)

    async def allowed(self, user: User, alternatives: list[Attributes]) -> bool:
        """Whether ``user`` may do one of ``alternatives``.

        Raises:
            ReviewUnavailable: nobody to ask, before one of them was found to be allowed.
        """
        who = msgspec.json.encode(user)
        if any(self._answers.kept((who, wanted)) for wanted in alternatives):
            return True
        for wanted in alternatives:
            try:
                if await self._answers.get((who, wanted), partial(self._review, user, wanted)):
                    return True
            except ApiError as error:
                log.warning("access could not be reviewed", user=user.name, error=str(error))
                raise ReviewUnavailable(
                    f"the API server cannot be asked whether {user.name!r} may {wanted.verb} nodes/{wanted.subresource}"
                ) from error
        return False
