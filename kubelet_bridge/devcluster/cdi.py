"""CDI without cdi-operator: its objects, and cdi-apiserver and cdi-controller as local processes.

The Pods that cdi-controller makes (importers, cloners, upload servers) are run by the dev hosts, which do what the
images named here would: nobody pulls those. What cdi-operator would install comes from ``cdi-manifests``, built from
CDI's own module. The feature gate WebhookPvcRendering, which a release's CDI object also has, is off: the operator's
code that makes its webhook cannot be called from outside.
"""

import asyncio
import base64
from pathlib import Path

import msgspec

from kubelet_bridge.devcluster import manifests
from kubelet_bridge.devcluster.component import Component, Health
from kubelet_bridge.devcluster.identities import CDI_CA, UPLOAD_CLIENT_CA, UPLOAD_SERVER_CA
from kubelet_bridge.devcluster.layout import ClusterState, Layout
from kubelet_bridge.devcluster.manifests import Manifest
from kubelet_bridge.devcluster.programs import pinned_version
from kubelet_bridge.devcluster.storageclasses import CLASSES
from kubelet_bridge.devcluster.waiting import until
from kubelet_bridge.errors import ApiError
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.resources import CDIS, CUSTOMRESOURCEDEFINITIONS, DATAVOLUMES, STORAGEPROFILES

NAMESPACE = "cdi"
_LOCAL = "127.0.0.1"
_VERSION = f"v{pinned_version('cdi')}"
_REGISTRY = "quay.io/kubevirt"
_LAST = frozenset({"APIService", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"})
"""Objects that send the API server's own requests to cdi-apiserver, which has to answer by then."""


def controllers(layout: Layout, state: ClusterState) -> tuple[Component, Component]:
    """cdi-apiserver and cdi-controller."""
    return _apiserver(layout, state), _controller(layout, state)


def _apiserver(layout: Layout, state: ClusterState) -> Component:
    port = state.ports.cdi_api
    argv = [
        str(layout.bin / "cdi-apiserver"), f"-kubeconfig={layout.kubeconfig('cdi-apiserver')}", f"-port={port}",
    ]  # fmt: skip
    files = {
        "CERT_FILE": str(layout.certificate("cdi-apiserver-server")),
        "KEY_FILE": str(layout.key("cdi-apiserver-server")),
    }
    health = Health(f"https://{_LOCAL}:{port}/healthz", layout.certificate(CDI_CA))
    return Component("cdi-apiserver", argv, f"{_LOCAL}:{port}", (port,), health=health, grace=1.0, environment=files)


def _controller(layout: Layout, state: ClusterState) -> Component:
    """It asks for its kubeconfig twice: by the flag, and where controller-runtime looks."""
    port, kubeconfig = state.ports.cdi_controller, str(layout.kubeconfig("cdi-controller"))
    argv = [
        str(layout.bin / "cdi-controller"), f"-kubeconfig={kubeconfig}", f"-metrics-address={_LOCAL}:{port}",
        f"-token-key-directory={layout.token_keys}",
    ]  # fmt: skip
    environment = {
        "KUBECONFIG": kubeconfig,
        "IMPORTER_IMAGE": f"{_REGISTRY}/cdi-importer:{_VERSION}",
        "CLONER_IMAGE": f"{_REGISTRY}/cdi-cloner:{_VERSION}",
        "UPLOADSERVER_IMAGE": f"{_REGISTRY}/cdi-uploadserver:{_VERSION}",
        "OVIRT_POPULATOR_IMAGE": f"{_REGISTRY}/ovirt-populator:{_VERSION}",
        "UPLOADPROXY_SERVICE": "cdi-uploadproxy",
        "UPLOAD_SERVER_CERT_FILE": str(layout.certificate(UPLOAD_SERVER_CA)),
        "UPLOAD_SERVER_KEY_FILE": str(layout.key(UPLOAD_SERVER_CA)),
        "UPLOAD_CLIENT_CERT_FILE": str(layout.certificate(UPLOAD_CLIENT_CA)),
        "UPLOAD_CLIENT_KEY_FILE": str(layout.key(UPLOAD_CLIENT_CA)),
    }
    health = Health(f"http://{_LOCAL}:{port}/metrics")
    return Component(
        "cdi-controller", argv, f"{_LOCAL}:{port}", (port,), health=health, grace=1.0, environment=environment
    )


def read_manifests(layout: Layout) -> list[Manifest]:
    """Everything cdi-operator would install. Blocks for a moment."""
    return manifests.printed_by(layout.bin / "cdi-manifests")


async def install(client: Client, layout: Layout, state: ClusterState, items: list[Manifest]) -> None:
    """Apply what the controllers need to start: CRDs, accounts, RBAC, keys, and the CDI object."""
    first = [item for item in items if item["kind"] not in _LAST]
    await manifests.apply(client, [manifests.namespace(NAMESPACE)])
    keys = await asyncio.to_thread(_keys, layout)
    await manifests.apply(client, [*first, *keys, _service(state)])
    crds = {item["metadata"]["name"] for item in first if item["kind"] == CUSTOMRESOURCEDEFINITIONS.kind}
    await until(lambda: manifests.all_established(client, crds), "CDI's CRDs")
    await manifests.apply(client, [_cdi()])


async def publish(client: Client, layout: Layout, state: ClusterState, items: list[Manifest]) -> None:
    """Send the API server's aggregated and admission requests to cdi-apiserver."""
    authority = await asyncio.to_thread(layout.certificate(CDI_CA).read_bytes)
    last = [manifests.point_at(item, state.ports.cdi_api, authority) for item in items if item["kind"] in _LAST]
    await manifests.apply(client, last)


async def wait_serving(client: Client) -> None:
    """Return when DataVolumes pass the webhooks and cdi-controller has described the development storage."""
    await until(lambda: _validates(client), "CDI's webhooks")
    await until(lambda: _describes_storage(client), "cdi-controller")


async def _validates(client: Client) -> bool:
    """Tried on a DataVolume that is never stored, and that only the webhook finds wrong."""
    volume = {
        "apiVersion": DATAVOLUMES.api_version, "kind": DATAVOLUMES.kind,
        "metadata": {"name": "kubelet-bridge-dev-probe"}, "spec": {"source": {"blank": {}}},
    }  # fmt: skip
    body, path = msgspec.json.encode(volume), DATAVOLUMES.path("default")
    try:
        await client.request("POST", path, params={"dryRun": "All"}, body=body)
    except ApiError as error:
        if "Missing Data volume PVC" in error.message:
            return True
        raise
    return False


async def _describes_storage(client: Client) -> bool:
    for name in CLASSES:
        profile = msgspec.json.decode(await client.get(STORAGEPROFILES, None, name))
        if not profile.get("status", {}).get("provisioner"):
            return False
    return True


def _service(state: ClusterState) -> Manifest:
    """ExternalName resolves for the aggregator and for webhooks alike, which reach a local process through it."""
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "cdi-api", "namespace": NAMESPACE},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": state.ports.cdi_api}]},
    }  # fmt: skip


def _keys(layout: Layout) -> list[Manifest]:
    """What clone and upload tokens are signed with, and the bundles that CDI hands to its Pods. Reads files."""
    return [
        {
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": "cdi-api-signing-key", "namespace": NAMESPACE},
            "data": {name: _encoded(layout.token_keys / name) for name in ("id_rsa", "id_rsa.pub")},
        },
        *(
            {
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-bundle", "namespace": NAMESPACE},
                "data": {"ca-bundle.crt": layout.certificate(name).read_text()},
            }
            for name in (UPLOAD_SERVER_CA, UPLOAD_CLIENT_CA)
        ),
    ]  # fmt: skip


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _cdi() -> Manifest:
    """With the status that cdi-operator leaves: this kind has no subresource for it."""
    return {
        "apiVersion": CDIS.api_version, "kind": CDIS.kind, "metadata": {"name": NAMESPACE},
        "spec": {"config": {"featureGates": ["HonorWaitForFirstConsumer"]}},
        "status": {
            "phase": "Deployed", "operatorVersion": _VERSION, "observedVersion": _VERSION, "targetVersion": _VERSION,
        },
    }  # fmt: skip
