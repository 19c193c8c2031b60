"""Keys, certificate signing requests and certificates, as bytes in PEM. Slow to compute: call it on a thread.

A kubelet's serving certificate has subject ``O=system:nodes, CN=system:node:<name>``, at least one DNS name or address,
and no other name: so the signer ``kubernetes.io/kubelet-serving`` demands it (pkg/apis/certificates/helpers.go).
"""

import hashlib
import ipaddress
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Self

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DNS_NAME = re.compile(r"^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")


class Names(msgspec.Struct, frozen=True):
    """Subject alternative names, sorted: what clients may call the server."""

    dns: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()

    @classmethod
    def of(cls, addresses: Iterable[str]) -> Self:
        """Names from the addresses of a Node, of any kind; what is neither a DNS name nor an address is left out."""
        dns, ips = set[str](), set[str]()
        for address in addresses:
            try:
                ips.add(str(ipaddress.ip_address(address)))
            except ValueError:
                if _DNS_NAME.match(address.lower()):
                    dns.add(address.lower())
        return cls(tuple(sorted(dns)), tuple(sorted(ips)))

    def covers(self, other: "Names") -> bool:
        """Whether every name in ``other`` is here too."""
        return set(other.dns) <= set(self.dns) and set(other.ips) <= set(self.ips)

    def __bool__(self) -> bool:
        return bool(self.dns or self.ips)


class Leaf(msgspec.Struct, frozen=True):
    """What matters of a certificate."""

    names: Names
    common_name: str
    not_before: datetime
    not_after: datetime


def new_key() -> bytes:
    """A fresh P-256 key (PKCS #8)."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def signing_request(key: bytes, node: str, names: Names) -> bytes:
    """A CSR for a kubelet's serving certificate."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(node))
    return (
        builder.add_extension(_alternative(names), critical=False)
        .sign(_signing_key(key), hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


def self_signed(key: bytes, node: str, names: Names, *, now: datetime, lifetime: timedelta) -> bytes:
    """A serving certificate that vouches for itself, valid from a little before ``now``."""
    private = _signing_key(key)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_subject(node))
        .issuer_name(_subject(node))
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))  # clocks differ
        .not_valid_after(now + lifetime)
        .add_extension(_alternative(names), critical=False)
        .add_extension(usage, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def leaf(pem: bytes) -> Leaf:
    """The first certificate in ``pem``.

    Raises:
        ValueError: there is none that can be read.
    """
    certificate = x509.load_pem_x509_certificates(pem)[0]
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns, ips = found.get_values_for_type(x509.DNSName), found.get_values_for_type(x509.IPAddress)
        names = Names.of([*dns, *map(str, ips)])
    except x509.ExtensionNotFound:
        names = Names()
    return Leaf(
        names=names,
        common_name=str(common[0].value) if common else "",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def belong_together(certificate: bytes, key: bytes) -> bool:
    """Whether the first certificate in ``certificate`` is for ``key``; ``ValueError`` for what cannot be read."""
    theirs = x509.load_pem_x509_certificates(certificate)[0].public_key()
    return _public(theirs) == _public(_private(key).public_key())


def key_digest(key: bytes) -> str:
    """32 hexadecimal characters that tell one key from another without giving it away."""
    return hashlib.sha256(_public(_private(key).public_key())).hexdigest()[:32]


def common_name(node: str) -> str:
    """The name under which a node is a user of the API server."""
    return f"system:node:{node}"


def _subject(node: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name(node)),
        ]
    )


def _alternative(names: Names) -> x509.SubjectAlternativeName:
    general: list[x509.GeneralName] = [x509.DNSName(name) for name in names.dns]
    return x509.SubjectAlternativeName([*general, *(x509.IPAddress(ipaddress.ip_address(ip)) for ip in names.ips)])


def _public(key: object) -> bytes:
    if not hasattr(key, "public_bytes"):
        raise ValueError("not a public key")
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _private(key: bytes) -> PrivateKeyTypes:
    return serialization.load_pem_private_key(key, password=None)


def _signing_key(key: bytes) -> ec.EllipticCurvePrivateKey:
    private = _private(key)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ValueError("not a P-256 key")
    return private


def names_digest(names: Names) -> str:
    """The same 32 hexadecimal characters for the same names."""
    return hashlib.sha256(msgspec.json.encode(names)).hexdigest()[:32]
