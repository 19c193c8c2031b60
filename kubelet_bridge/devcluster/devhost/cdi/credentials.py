"""TLS between a clone's source and its target, from the Secrets that CDI makes for the two Pods. Everything blocks."""

import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubelet_bridge.errors import Transient


def server(secret: Mapping[str, bytes]) -> ssl.SSLContext:
    """For the upload server: whoever has no certificate of the Secret's ``ca.crt`` is not let in."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load_pair(context, secret)
    context.load_verify_locations(cadata=_entry(secret, "ca.crt").decode())
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client(secret: Mapping[str, bytes], authority: str) -> ssl.SSLContext:
    """For the source: only a server of ``authority`` (PEM) is sent anything."""
    context = ssl.create_default_context(cadata=authority)
    _load_pair(context, secret)
    return context


def common_name(certificate: Mapping[str, Any] | None) -> str:
    """The name in a peer's certificate, as ``getpeercert`` has it."""
    subject = (certificate or {}).get("subject", ())
    return next((str(value) for part in subject for key, value in part if key == "commonName"), "")


def _load_pair(context: ssl.SSLContext, secret: Mapping[str, bytes]) -> None:
    """Python reads a key from a file only: one that nobody else can open, and that goes at once."""
    with tempfile.TemporaryDirectory(prefix="cdi-") as name:
        pair = Path(name) / "pair.pem"
        pair.touch(mode=0o600)
        pair.write_bytes(_entry(secret, "tls.crt") + b"\n" + _entry(secret, "tls.key"))
        context.load_cert_chain(pair)


def _entry(secret: Mapping[str, bytes], name: str) -> bytes:
    try:
        return secret[name]
    except KeyError:
        raise Transient(f"the Secret has no {name} (yet)", reason="NoCertificate") from None
