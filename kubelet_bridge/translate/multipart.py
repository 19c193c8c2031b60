"""Our cloud-config and the user's documents in one: a MIME document, as cloud-init reads it.

The user has the last word in what can be said once, and both are heard in what is a list. cloud-init's mergers give
that to a document that comes *after* the one it must not override (``no_replace``), so ours is the closing part, with
its lists put before the user's (``list(prepend)``). It holds whatever the user's document is: a document of any kind
is handed on as it is, to be merged the way its own ``merge_how`` says, and none can lose the guest its agent.
"""

import email
import email.policy
import hashlib
import zlib
from collections.abc import Sequence
from email.encoders import encode_base64
from email.message import Message
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart

MERGE_TYPE = "dict(no_replace,recurse_list)+list(prepend)"
_INFLATED_LIMIT = 16 * 2**20
_GZIP = b"\x1f\x8b"


class Unreadable(Exception):
    """A document is compressed and cannot be expanded."""


def combined(cloud_config: bytes, documents: Sequence[bytes]) -> bytes:
    """``documents`` in order, each of which may change what those before it said; then ``cloud_config`` of ours.

    The same input gives the same bytes.

    Raises:
        Unreadable: a document cannot be read at all.
    """
    whole = MIMEMultipart(boundary=_boundary([*documents, cloud_config]))
    for number, document in enumerate(documents, 1):
        whole.attach(_users_part(document, f"document-{number:02}"))
    ours = _part("text", "cloud-config", cloud_config, "kubelet-bridge")
    ours["Merge-Type"] = MERGE_TYPE
    whole.attach(ours)
    return whole.as_bytes(policy=email.policy.compat32.clone(linesep="\n"))


def _users_part(document: bytes, name: str) -> Message:
    """cloud-init looks for itself what a ``text/plain`` part is; MIME inside of it, it would not see."""
    plain = _inflated(document) if document.startswith(_GZIP) else document
    if b"mime-version:" in plain[:4096].lower():
        return email.message_from_bytes(plain)
    if plain is not document:
        return _part("application", "gzip", document, name)
    return _part("text", "plain", document, name)


def _part(main_type: str, subtype: str, content: bytes, name: str) -> Message:
    part = MIMEBase(main_type, subtype)
    part.set_payload(content)
    encode_base64(part)
    part.add_header("Content-Disposition", "attachment", filename=name)
    return part


def _inflated(document: bytes) -> bytes:
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        content = inflate.decompress(document, _INFLATED_LIMIT)
    except zlib.error as error:
        raise Unreadable(f"looks like gzip and is not: {error}") from None
    if inflate.unconsumed_tail or not inflate.eof:
        raise Unreadable(f"is compressed, and cut off or larger than {_INFLATED_LIMIT} bytes")
    return content


def _boundary(parts: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return f"kubelet-bridge-{digest.hexdigest()[:32]}"
