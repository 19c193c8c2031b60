"""A certificate authority of a test's own."""

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOUR = timedelta(hours=1)


class Authority:
    """Signs what it is asked to; names of its certificates are ``O=<groups>, CN=<name>``."""

    def __init__(self, name: str = "test-ca", signed_by: "Authority | None" = None) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = signed_by or self
        certificate = (
            signer._builder(self._name, self._key.public_key(), HOUR, -HOUR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(signer._key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)

    def client(
        self, directory: Path, name: str, *groups: str, usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
        ends: timedelta = HOUR,
    ) -> Path:  # fmt: skip
        """A file with key and certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            self._builder(subject, key.public_key(), ends, -HOUR)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        path = directory / f"{name.replace(':', '-')}-{certificate.serial_number}.pem"
        path.write_bytes(_private_pem(key) + certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def serving(self, directory: Path, *ips: str, name: str = "serving") -> tuple[Path, Path]:
        """Files with certificate and key of a server."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips or ("127.0.0.1",)]
        certificate = (
            self._builder(subject, key.public_key(), HOUR, -HOUR)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        files = directory / f"{name}.crt", directory / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(_private_pem(key))
        return files

    def sign(self, request: bytes, *, lasts: timedelta = HOUR, began: datetime | None = None) -> bytes:
        """A certificate for a certificate signing request, with the names it asks for."""
        asked = x509.load_pem_x509_csr(request)
        start = began or datetime.now(UTC) - timedelta(minutes=1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(asked.subject)
            .issuer_name(self._name)
            .public_key(asked.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + lasts)
        )
        for extension in asked.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def client_context(self, certificate: Path | None = None) -> ssl.SSLContext:
        """What a client uses that trusts this authority, with a certificate of its own or without."""
        context = ssl.create_default_context(cadata=self.pem.decode())
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if certificate is not None:
            context.load_cert_chain(certificate)
        return context

    def _builder(
        self, subject: x509.Name, key: CertificatePublicKeyTypes, ends: timedelta, begins: timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
        )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
