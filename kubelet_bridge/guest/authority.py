"""What a node's guests believe in: the key of their tokens, and the authority that signs the servers' certificates.

Both live in a Kubernetes Secret for as long as the node does: a lost state directory must not cut off running guests,
whose cloud-init holds the authority's certificate. Server certificates are made anew at each start. Slow to compute:
call it on a thread.
"""

import base64
import binascii
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Self

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.guesttoken import SERVER_NAME

KEY_BYTES = 32
CA_LIFETIME = timedelta(days=3650)
SERVER_LIFETIME = timedelta(days=365)
RENEW_BEFORE = timedelta(days=30)
_BACKDATED = timedelta(days=1)  # a guest's clock may be wrong until it has found a time server
_NODE_KEY, _CERTIFICATE, _PRIVATE_KEY = "node.key", "ca.crt", "ca.key"


class ServerCertificate(msgspec.Struct, frozen=True):
    """Certificate and key in PEM, for ``SERVER_NAME``."""

    certificate: bytes
    key: bytes
    not_after: datetime

    def __repr__(self) -> str:
        return f"ServerCertificate(not_after={self.not_after.isoformat()})"

    def due(self, now: datetime) -> bool:
        """Whether it is time for another."""
        return now >= self.not_after - RENEW_BEFORE


class Authority(msgspec.Struct, frozen=True):
    """Never logged.

    Attributes:
        key: from which each Pod's tokens are made.
        certificate: PEM of the authority, which goes into guests.
        private_key: its key.
    """

    key: bytes
    certificate: bytes
    private_key: bytes

    def __repr__(self) -> str:
        return "Authority(…)"

    @classmethod
    def create(cls, node: str, *, now: datetime) -> Self:
        """A new one, for a node that has none yet."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _authority(key, node, now)
        return cls(secrets.token_bytes(KEY_BYTES), certificate.public_bytes(serialization.Encoding.PEM), _pem(key))

    @classmethod
    def from_secret(cls, data: Mapping[str, str], *, name: str) -> Self:
        """From the ``data`` of the Secret called ``name``.

        Raises:
            Terminal: it holds something else. It must not be written over: running guests may believe in it.
        """
        try:
            fields = [base64.b64decode(data[field], validate=True) for field in (_NODE_KEY, _CERTIFICATE, _PRIVATE_KEY)]
            made = cls(*fields)
            made._check()
        except (KeyError, ValueError, TypeError, binascii.Error) as error:
            message = (
                f"Secret {name} does not hold the authority of this node's guests ({type(error).__name__}: {error});"
                " restore it, or delete it to begin anew: guests that run now then have to be recreated"
            )
            raise Terminal(message, reason="InvalidGuestSecret") from error
        return made

    def to_secret(self) -> dict[str, str]:
        """As the ``data`` of a Secret."""
        fields = {_NODE_KEY: self.key, _CERTIFICATE: self.certificate, _PRIVATE_KEY: self.private_key}
        return {name: base64.b64encode(value).decode() for name, value in fields.items()}

    def issue(self, *, now: datetime) -> ServerCertificate:
        """A server certificate that is valid from now on."""
        issuer, private = x509.load_pem_x509_certificate(self.certificate), _private(self.private_key)
        key = ec.generate_private_key(ec.SECP256R1())
        not_after = min(now + SERVER_LIFETIME, issuer.not_valid_after_utc)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        certificate = (
            _builder(_named(SERVER_NAME), issuer.subject, key, now - _BACKDATED, not_after)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
            .add_extension(usage, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(private.public_key()), critical=False)
            .sign(private, hashes.SHA256())
        )
        return ServerCertificate(certificate.public_bytes(serialization.Encoding.PEM), _pem(key), not_after)

    def _check(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise ValueError(f"{_NODE_KEY} has {len(self.key)} bytes")
        if x509.load_pem_x509_certificate(self.certificate).public_key() != _private(self.private_key).public_key():
            raise ValueError(f"{_CERTIFICATE} is not for {_PRIVATE_KEY}")


def _authority(key: ec.EllipticCurvePrivateKey, node: str, now: datetime) -> x509.Certificate:
    name = _named(f"kubelet-bridge guests {node}"[:64])
    return (
        _builder(name, name, key, now - _BACKDATED, now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    """RFC 5280 wants it in authorities, and Python 3.13 checks."""
    return x509.KeyUsage(
        digital_signature=not signs, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=signs, crl_sign=signs, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _named(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _private(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an EC key")
    return key
