"""CDI in the development cluster: its keys, processes and storage as values."""

from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from kubelet_bridge.devcluster import cdi, identities, ports, storageclasses
from kubelet_bridge.devcluster.layout import ClusterState, Layout, Ports
from kubelet_bridge.devcluster.manifests import resource_of

_PORTS = Ports(**{field.name: 20_000 + index for index, field in enumerate(msgspec.structs.fields(Ports))})


def _state(directory: Path) -> ClusterState:
    return ClusterState(
        id="id", directory=str(directory), ports=_PORTS, node_address="127.0.0.1", pod_cidr="127.128.0.0/16",
        service_cidr="10.96.0.0/16", interface=None, kubernetes_version="1.36.3", kubevirt_version="1.9.0", bin_dir="",
    )  # fmt: skip


def test_cdi_signs_with_rsa_and_its_keys_stay(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.make()
    identities.issue(layout, _state(tmp_path))
    for name in (identities.UPLOAD_SERVER_CA, identities.UPLOAD_CLIENT_CA):
        certificate = x509.load_pem_x509_certificate(layout.certificate(name).read_bytes())
        assert isinstance(certificate.public_key(), rsa.RSAPublicKey)
        assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    private = serialization.load_pem_private_key((layout.token_keys / "id_rsa").read_bytes(), None)
    public = serialization.load_pem_public_key((layout.token_keys / "id_rsa.pub").read_bytes())
    assert isinstance(private, rsa.RSAPrivateKey)
    assert isinstance(public, rsa.RSAPublicKey)
    signed = private.sign(b"token", padding.PKCS1v15(), hashes.SHA256())
    public.verify(signed, b"token", padding.PKCS1v15(), hashes.SHA256())
    before = {path: path.read_bytes() for path in layout.token_keys.iterdir()}
    identities.issue(layout, _state(tmp_path))
    assert {path: path.read_bytes() for path in layout.token_keys.iterdir()} == before


def test_cdi_listens_on_loopback_only(tmp_path: Path) -> None:
    api, controller = cdi.controllers(Layout(tmp_path), _state(tmp_path))
    assert f"-port={_PORTS.cdi_api}" in api.argv
    assert f"-metrics-address=127.0.0.1:{_PORTS.cdi_controller}" in controller.argv
    assert api.health is not None
    assert api.health.authority == Layout(tmp_path).certificate(identities.CDI_CA)


def test_every_class_has_a_profile_and_one_is_the_default() -> None:
    classes = {one["metadata"]["name"]: one for one in storageclasses.classes() if one["kind"] == "StorageClass"}
    assert {one["metadata"]["name"] for one in storageclasses.profiles()} == set(classes) == set(storageclasses.CLASSES)
    assert [name for name, one in classes.items() if one["metadata"]["annotations"]] == [storageclasses.REPLICATED]
    assert classes[storageclasses.LOCAL]["volumeBindingMode"] == "WaitForFirstConsumer"
    assert classes[storageclasses.REPLICATED]["volumeBindingMode"] == "Immediate"
    assert all(not resource_of(one).namespaced for one in (*storageclasses.classes(), *storageclasses.profiles()))


def test_a_cluster_made_before_cdi_gets_ports_for_it() -> None:
    chosen = ports.choose("a")
    assert ports.complete(chosen, "a") == chosen
    older = msgspec.structs.replace(chosen, cdi_api=0, cdi_controller=0)
    completed = msgspec.structs.asdict(ports.complete(older, "a"))
    assert len(set(completed.values())) == len(completed)
    assert all(completed.values())
    before = msgspec.structs.asdict(older)
    assert {name for name, port in completed.items() if port != before[name]} == {"cdi_api", "cdi_controller"}
