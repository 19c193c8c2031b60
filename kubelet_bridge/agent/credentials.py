"""Who we are to the bridge and the bridge to us: the boot token first, then what it was exchanged for."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import NamedTuple

from kubelet_bridge.agent.files import read_json, write_json


class Session(NamedTuple):
    """What Welcome gave for the boot token. Never logged."""

    token: str
    bridge_secret: str

    def __repr__(self) -> str:
        return "Session(...)"


def load_session(path: Path, pod_uid: str) -> Session | None:
    """The session kept on disk; None when there is none, or it is another Pod's (a disk that was copied)."""
    document = read_json(path)
    if document is None or document.get("pod_uid") != pod_uid:
        return None
    token, secret = document.get("token"), document.get("bridge_secret")
    if not isinstance(token, str) or not isinstance(secret, str) or not token or not secret:
        return None
    return Session(token, secret)


def store_session(path: Path, pod_uid: str, session: Session) -> None:
    """Keep it; on disk when this returns."""
    write_json(path, {"pod_uid": pod_uid, "token": session.token, "bridge_secret": session.bridge_secret})


def is_proof(proof: bytes, secret: str, nonce: bytes) -> bool:
    """Whether who made ``proof`` knows ``secret`` (``Welcome.proof``: HMAC-SHA256 over our nonce)."""
    return hmac.compare_digest(hmac.new(secret.encode(), nonce, hashlib.sha256).digest(), proof)
