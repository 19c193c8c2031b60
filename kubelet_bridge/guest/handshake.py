"""Who may come in: decided from what is known, without I/O.

A boot token is good once per boot of the VM: until the agent has confirmed that it keeps the session token it was given
for it. Nothing is told about a Pod to somebody who has shown no good token of that Pod.
"""

import hmac
from enum import StrEnum

import msgspec

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.model import guesttoken
from kubelet_bridge.model.guestrecord import GuestRecord

PROTOCOL_VERSION = 2
OLDEST_VERSION = 1
NONCE_BYTES = range(16, 257)
_TOKEN_LENGTH = 256
_UID_LENGTH = 64


class Standing(StrEnum):
    """What is known of a Pod uid."""

    EXPECTED = "expected"
    UNKNOWN = "unknown"
    """Not seen yet: the bridge may just have started."""
    GONE = "gone"


class Known(msgspec.Struct, frozen=True):
    """What is known of the Pod that an agent claims to belong to; ``boot``: its VMI, if it has one."""

    standing: Standing
    boot: str = ""
    record: GuestRecord | None = None


class Refusal(StrEnum):
    """The gRPC status of a refusal, by the names of agent.proto."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    UNAVAILABLE = "UNAVAILABLE"


class Refused(msgspec.Struct, frozen=True):
    """No, with what the agent is told; ``result`` is what is counted."""

    status: Refusal
    message: str
    result: str


class Welcomed(msgspec.Struct, frozen=True):
    """Yes.

    Attributes:
        boot_token: it came with the boot token, and is to be given a session token.
        promote: it came with the session token that was not confirmed yet, which confirms it.
        session_hash: of its session token; empty after a boot token.
    """

    boot_token: bool
    promote: bool = False
    session_hash: str = ""


def malformed(hello: pb.Hello) -> Refused | None:
    """Whether a Hello breaks the rules, before its token is looked at."""
    if not hello.pod_uid or len(hello.pod_uid) > _UID_LENGTH or not hello.token or len(hello.token) > _TOKEN_LENGTH:
        return Refused(Refusal.INVALID_ARGUMENT, "pod_uid or token is missing or too long", "malformed")
    if len(hello.nonce) not in NONCE_BYTES:
        return Refused(Refusal.INVALID_ARGUMENT, "the nonce must have 16 to 256 bytes", "malformed")
    if hello.protocol_version < OLDEST_VERSION:
        message = f"protocol version {hello.protocol_version} is too old; this bridge speaks {PROTOCOL_VERSION}"
        return Refused(Refusal.FAILED_PRECONDITION, message, "version")
    return None


def decide(hello: pb.Hello, known: Known, key: bytes) -> Welcomed | Refused:
    """Whether the token of a Hello that is not ``malformed`` is good for its Pod now; ``key`` is the node's."""
    match hello.token_kind:
        case pb.TOKEN_KIND_BOOT:
            return _boot(hello, known, key)
        case pb.TOKEN_KIND_SESSION:
            return _session(hello, known)
        case _:
            return Refused(Refusal.INVALID_ARGUMENT, "no such kind of token", "malformed")


def _boot(hello: pb.Hello, known: Known, key: bytes) -> Welcomed | Refused:
    if not _same(hello.token, guesttoken.boot_token(key, hello.pod_uid)):
        return Refused(Refusal.UNAUTHENTICATED, "the token is not good for this Pod", "bad_token")
    if known.standing is Standing.GONE:
        return Refused(Refusal.PERMISSION_DENIED, "the Pod is gone", "gone")
    if known.standing is Standing.UNKNOWN or not known.boot:
        return Refused(Refusal.UNAVAILABLE, "this Pod's machine is not known yet", "not_expected")
    if known.record is not None and known.record.used_boot == known.boot:
        return Refused(Refusal.PERMISSION_DENIED, "the boot token has been used in this boot", "replayed")
    return Welcomed(boot_token=True)


def _session(hello: pb.Hello, known: Known) -> Welcomed | Refused:
    unknown = Refused(Refusal.UNAUTHENTICATED, "the token is not good for this Pod", "bad_token")
    if known.record is None or known.standing is Standing.GONE:
        return unknown
    given = guesttoken.token_hash(hello.token)
    if known.record.session_hash and _same(given, known.record.session_hash):
        return Welcomed(boot_token=False, session_hash=given)
    if known.record.pending_hash and _same(given, known.record.pending_hash):
        return Welcomed(boot_token=False, promote=True, session_hash=given)
    return unknown


def handed_out(record: GuestRecord, *, session_hash: str, boot: str) -> GuestRecord:
    """After a session token was made: the former unconfirmed one is void."""
    return msgspec.structs.replace(record, pending_hash=session_hash, pending_boot=boot)


def confirmed(record: GuestRecord, session_hash: str) -> GuestRecord:
    """After the agent has shown that it keeps the token of that hash; any other hash changes nothing."""
    if not record.pending_hash or not _same(record.pending_hash, session_hash):
        return record
    return msgspec.structs.replace(
        record, session_hash=record.pending_hash, pending_hash="", pending_boot="", used_boot=record.pending_boot
    )


def proof(hello: pb.Hello, welcomed: Welcomed, key: bytes) -> bytes:
    """That we are the bridge (``Welcome.proof``)."""
    if welcomed.boot_token:
        return guesttoken.proof(hello.token, hello.nonce)
    return guesttoken.proof(guesttoken.bridge_secret(key, hello.pod_uid, welcomed.session_hash), hello.nonce)


def _same(one: str, other: str) -> bool:
    """Whether they are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))
