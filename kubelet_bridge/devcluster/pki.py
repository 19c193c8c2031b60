"""Certificate authorities and the certificates they issue (P-256), as PEM files."""

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kubelet_bridge.devcluster.layout import write_private

_AUTHORITY_LIFE = timedelta(days=3650)
_LEAF_LIFE = timedelta(days=365)
_CLOCK_SLACK = timedelta(hours=1)


class Leaf(msgspec.Struct, frozen=True):
    """A certificate to issue: the file name, the authority, the subject, and what it is for."""

    name: str
    authority: str
    common_name: str
    organizations: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    client: bool = True

    @property
    def server(self) -> bool:
        """A server is what has a name or an address."""
        return bool(self.dns or self.addresses)


class Authority:
    """A CA: loaded from ``NAME.crt`` and ``NAME.key`` in a directory, made there when there is none."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
        if not (certificate.exists() and key.exists()):
            _make_authority(certificate, key, name, ec.generate_private_key(ec.SECP256R1()))
        self.certificate = x509.load_pem_x509_certificate(certificate.read_bytes())
        self._key = serialization.load_pem_private_key(key.read_bytes(), None)

    def issue(self, leaf: Leaf) -> None:
        """Write ``leaf``'s certificate and a new key beside the authority's."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(_subject(leaf.common_name, leaf.organizations), _LEAF_LIFE)
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(_usages(leaf)), critical=False)
            .add_extension(_authority_key(self.certificate), critical=False)
        )
        if leaf.server:
            names = [x509.DNSName(name) for name in leaf.dns]
            addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in leaf.addresses]
            builder = builder.add_extension(x509.SubjectAlternativeName([*names, *addresses]), critical=False)
        signed = builder.sign(_signing(self._key), hashes.SHA256())
        _write_key(self._directory / f"{leaf.name}.key", key)
        write_private(self._directory / f"{leaf.name}.crt", signed.public_bytes(serialization.Encoding.PEM))


def ensure_token_keys(private: Path, public: Path) -> None:
    """A pair that signs and verifies tokens: RSA, as kubeadm makes it for ServiceAccounts and CDI for its own."""
    if public.exists():
        return
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _write_key(private, key)
    encoded = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write_private(public, encoded)


def ensure_signer(certificate: Path, key_file: Path, name: str) -> None:
    """An authority that CDI issues certificates from by itself: with RSA, the only kind it signs with."""
    if not (certificate.exists() and key_file.exists()):
        _make_authority(certificate, key_file, name, rsa.generate_private_key(public_exponent=65537, key_size=2048))


def _make_authority(
    certificate: Path, key_file: Path, name: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
) -> None:
    subject = _subject(name, ())
    signed = (
        _builder(subject, _AUTHORITY_LIFE)
        .issuer_name(subject)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_key(key_file, key)
    write_private(certificate, signed.public_bytes(serialization.Encoding.PEM))


def _builder(subject: x509.Name, life: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .serial_number(int.from_bytes(os.urandom(16)) >> 1)
        .not_valid_before(now - _CLOCK_SLACK)
        .not_valid_after(now + life)
    )


def _subject(common_name: str, organizations: tuple[str, ...]) -> x509.Name:
    return x509.Name([
        *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
    ])  # fmt: skip


def _usages(leaf: Leaf) -> list[x509.ObjectIdentifier]:
    server = [ExtendedKeyUsageOID.SERVER_AUTH] if leaf.server else []
    return [*server, *([ExtendedKeyUsageOID.CLIENT_AUTH] if leaf.client else [])]


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=authority, crl_sign=authority, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _authority_key(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _signing(key: PrivateKeyTypes) -> CertificateIssuerPrivateKeyTypes:
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("our authorities sign with P-256 keys")
    return key


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    write_private(path, key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ))  # fmt: skip
