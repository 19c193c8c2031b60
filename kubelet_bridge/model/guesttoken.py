"""The secrets between one guest and its bridge, all made from the node's one key: nothing of them need be stored.

The boot token goes into the Pod's cloud-init Secret. With it the guest gets a session token, of which the store keeps
the hash, and the bridge secret, by which the guest knows the bridge again.
"""

import base64
import hashlib
import hmac

SERVER_NAME = "kubelet-bridge-guest"
"""The name in the certificates of the servers that guests dial: addresses change, this does not."""


def boot_token(key: bytes, pod_uid: str) -> str:
    """What the guest of this Pod incarnation introduces itself with."""
    return _derived(key, "boot", pod_uid)


def bridge_secret(key: bytes, pod_uid: str, session_hash: str) -> str:
    """What the bridge proves itself with, in the session whose token has this hash."""
    return _derived(key, "bridge", f"{pod_uid}/{session_hash}")


def proof(secret: str, nonce: bytes) -> bytes:
    """That whoever sent it knows ``secret`` (``Welcome.proof``)."""
    return hmac.digest(secret.encode(), nonce, "sha256")


def token_hash(token: str) -> str:
    """What is kept of a token; tokens are random, so that a plain hash tells nothing of them."""
    return hashlib.sha256(token.encode()).hexdigest()


def _derived(key: bytes, purpose: str, subject: str) -> str:
    return base64.urlsafe_b64encode(hmac.digest(key, f"{purpose}/{subject}".encode(), "sha256")).decode().rstrip("=")
