"""The authority, and the Secret it is kept in."""

import ssl
import tempfile
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from kubelet_bridge.errors import Terminal
from kubelet_bridge.guest.authority import CA_LIFETIME, RENEW_BEFORE, SERVER_LIFETIME, Authority
from kubelet_bridge.model.guesttoken import SERVER_NAME

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MADE = Authority.create("node-1", now=NOW)


def test_it_comes_back_from_its_secret() -> None:
    assert Authority.from_secret(MADE.to_secret(), name="ns/secret") == MADE


@pytest.mark.parametrize(
    "change",
    [
        {"node.key": ""}, {"node.key": "AAAA"}, {"node.key": "not base64!"}, {"ca.crt": "AAAA"},
        {"ca.key": Authority.create("other", now=NOW).to_secret()["ca.key"]}, {"ca.key": None},
    ],
)  # fmt: skip
def test_a_secret_that_holds_something_else_is_named(change: dict[str, str | None]) -> None:
    data = {name: value for name, value in (MADE.to_secret() | change).items() if value is not None}
    with pytest.raises(Terminal, match="ns/secret"):
        Authority.from_secret(data, name="ns/secret")


def test_server_certificates() -> None:
    served = MADE.issue(now=NOW)
    leaf, issuer = (x509.load_pem_x509_certificate(pem) for pem in (served.certificate, MADE.certificate))
    leaf.verify_directly_issued_by(issuer)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [SERVER_NAME]
    assert not served.due(NOW)
    assert served.due(NOW + SERVER_LIFETIME - RENEW_BEFORE)
    assert MADE.issue(now=NOW + CA_LIFETIME - timedelta(days=1)).not_after == issuer.not_valid_after_utc


def test_strict_clients_accept_the_chain() -> None:
    """Python 3.13 checks so by default."""
    authority = Authority.create("node", now=datetime.now(UTC))
    served = authority.issue(now=datetime.now(UTC))
    client = ssl.create_default_context(cadata=authority.certificate.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(server, served.key + served.certificate)
    _shake(client, server)


def test_nothing_secret_is_in_a_repr() -> None:
    said = repr(MADE) + repr(MADE.issue(now=NOW))
    assert "PRIVATE" not in said
    assert str(MADE.key) not in said


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)


def _shake(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=SERVER_NAME),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert all(end.version() for end in ends)
