"""Who asks for what, and what a signer says: values that cross between the kubelet API and the API server."""

import msgspec


class User(msgspec.Struct, frozen=True):
    """``userInfo`` of authentication.k8s.io/v1: as a client certificate or a TokenReview names somebody."""

    name: str = msgspec.field(name="username", default="")
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}


class Attributes(msgspec.Struct, frozen=True):
    """What is asked of our Node: ``verb`` on ``nodes/<subresource>``."""

    verb: str
    subresource: str


class Waiting(msgspec.Struct, frozen=True):
    """Nobody has approved or denied the certificate signing request yet, or it is approved and not signed."""


class Issued(msgspec.Struct, frozen=True):
    """The signed certificate, PEM, with its chain."""

    certificate: bytes


class Refused(msgspec.Struct, frozen=True):
    """The request was denied, or the signer failed it; it will stay so."""

    reason: str
    message: str


class Missing(msgspec.Struct, frozen=True):
    """There is no such request (any more: kube-controller-manager removes old ones)."""


SigningAnswer = Waiting | Issued | Refused | Missing
