"""Who we are to the bridge and the bridge to us: the boot token first, then what it was exchanged for."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from pathlib import Path
from typing import NamedTuple

from kubelet_bridge.agent.files import read_json, write_json
from kubelet_bridge.agent.telling import tell


class Session(NamedTuple):
    """What Welcome gave for the boot token. Never logged."""

    token: str
    bridge_secret: str

    def __repr__(self) -> str:
        return "Session(...)"


class Vault:
    """Keeps the session on disk, or while the disk is full in memory, which is enough until the next boot."""

    def __init__(self, kept: Path, volatile: Path, pod_uid: str) -> None:
        self._kept = kept
        self._volatile = volatile
        self._pod_uid = pod_uid

    def load(self) -> Session | None:
        """The session; None when there is none, or it is another Pod's (a disk that was copied)."""
        return self._read(self._volatile) or self._read(self._kept)

    def store(self, session: Session) -> None:
        """Keep it; it is safe when this returns.

        Raises:
            OSError: it can be kept nowhere.
        """
        document = {"pod_uid": self._pod_uid, "token": session.token, "bridge_secret": session.bridge_secret}
        try:
            write_json(self._kept, document)
        except OSError as error:
            tell(f"the session is kept in memory only: {error}")
            write_json(self._volatile, document)
            return
        with contextlib.suppress(FileNotFoundError):
            self._volatile.unlink()

    def _read(self, path: Path) -> Session | None:
        document = read_json(path)
        if document is None or document.get("pod_uid") != self._pod_uid:
            return None
        token, secret = document.get("token"), document.get("bridge_secret")
        if not isinstance(token, str) or not isinstance(secret, str) or not token or not secret:
            return None
        return Session(token, secret)


def is_proof(proof: bytes, secret: str, nonce: bytes) -> bool:
    """Whether who made ``proof`` knows ``secret`` (``Welcome.proof``: HMAC-SHA256 over our nonce)."""
    return hmac.compare_digest(hmac.new(secret.encode(), nonce, hashlib.sha256).digest(), proof)
