"""What the development cluster computes: versions, addresses, certificates, manifests."""

import base64
import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from kubelet_bridge.devcluster.manifests import decode_list, point_at
from kubelet_bridge.devcluster.network import free_range
from kubelet_bridge.devcluster.pki import Authority, Leaf
from kubelet_bridge.devcluster.programs import check_kubernetes_version, linker_flags, pinned_version
from kubelet_bridge.errors import Terminal


@pytest.mark.parametrize("text", ["1.36.3", "v1.36.3"])
def test_a_kubernetes_version(text: str) -> None:
    assert check_kubernetes_version(text) == "1.36.3"


@pytest.mark.parametrize(
    ("text", "said"), [("1.34.9", "1.35 or newer"), ("1.36", "all three numbers"), ("latest", "all")]
)
def test_a_kubernetes_version_that_will_not_do(text: str, said: str) -> None:
    with pytest.raises(Terminal, match=said):
        check_kubernetes_version(text)


def test_versions_come_from_go_mod() -> None:
    assert check_kubernetes_version(pinned_version("kubernetes"))
    assert {pinned_version(module).count(".") for module in ("kubevirt", "etcd", "cdi", "helm")} == {2}
    assert "k8s.io/component-base/version.gitMinor=36" in linker_flags("kubernetes", "1.36.3")


@settings(deadline=None)
@given(st.text(), st.sets(st.integers(0, 63)))
def test_a_range_no_route_touches(seed: str, taken: set[int]) -> None:
    used = [ipaddress.IPv4Network(f"10.{128 + 2 * index}.7.0/24") for index in taken]
    if len(taken) == 64:
        with pytest.raises(Terminal):
            free_range(seed, used)
        return
    chosen = ipaddress.IPv4Network(free_range(seed, used))
    assert chosen.subnet_of(ipaddress.IPv4Network("10.128.0.0/9"))
    assert not any(chosen.overlaps(network) for network in used)
    assert str(chosen) == free_range(seed, reversed(used))


def test_a_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    authority.issue(Leaf("one", "ca", "name", ("group-a", "group-b"), dns=("localhost",), addresses=("127.0.0.1",)))
    certificate = x509.load_pem_x509_certificate((tmp_path / "one.crt").read_bytes())
    certificate.verify_directly_issued_by(Authority(tmp_path, "ca").certificate)
    groups = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [group.value for group in groups] == ["group-a", "group-b"]
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_webhooks_and_apiservices_lead_to_a_local_port() -> None:
    service = {"namespace": "kubevirt", "name": "virt-api"}
    hook = {
        "kind": "MutatingWebhookConfiguration",
        "webhooks": [{"clientConfig": {"service": {**service, "path": "/m"}}}],
    }
    api = {"kind": "APIService", "spec": {"group": "g", "service": service}}
    bundle = base64.b64encode(b"pem").decode()
    assert point_at(hook, 7, b"pem")["webhooks"] == [
        {"clientConfig": {"service": {**service, "path": "/m", "port": 7}, "caBundle": bundle}}
    ]
    assert point_at(api, 7, b"pem")["spec"] == {"group": "g", "service": {**service, "port": 7}, "caBundle": bundle}


def test_printed_objects_lose_their_empty_status() -> None:
    assert decode_list(b'{"items": [{"kind": "A", "status": {"x": null}}]}') == [{"kind": "A"}]
