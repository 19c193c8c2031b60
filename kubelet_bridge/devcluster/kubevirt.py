"""KubeVirt without virt-operator: its objects in the order that works, and its two controllers as local processes.

virt-operator would wait for Deployments that nobody runs here. What it would install comes from ``kubevirt-manifests``,
built from KubeVirt's own module; what it would report is written to the KubeVirt object's status once.
"""

import asyncio
from typing import Any

import msgspec

from kubelet_bridge.devcluster import manifests
from kubelet_bridge.devcluster.component import Component, Health
from kubelet_bridge.devcluster.identities import KUBEVIRT_CA
from kubelet_bridge.devcluster.layout import ClusterState, Layout
from kubelet_bridge.devcluster.manifests import Manifest
from kubelet_bridge.devcluster.waiting import until
from kubelet_bridge.errors import NotFound
from kubelet_bridge.kube.client import Client, PatchType
from kubelet_bridge.model.resources import (
    CUSTOMRESOURCEDEFINITIONS,
    KUBEVIRTS,
    LEASES,
    VIRTUALMACHINES,
    VM_SUBRESOURCES,
)

NAMESPACE = "kubevirt"
_LOCAL = "127.0.0.1"
_REGISTRY = "quay.io/kubevirt"
_LAST = frozenset({"APIService", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"})
"""Objects that send the API server's own requests to virt-api, which has to answer by then."""

_LIMITS = {"restClient": {"rateLimiter": {"tokenBucketRateLimiter": {"qps": 1000, "burst": 2000}}}}
_DEPLOYMENT_ID = "kubelet-bridge-dev"
_LEASE = "virt-controller"


def controllers(layout: Layout, state: ClusterState) -> tuple[Component, Component]:
    """virt-api and virt-controller. Their certificates' directory must hold nothing that changes: it is watched."""
    return _virt_api(layout, state), _virt_controller(layout, state)


def _virt_api(layout: Layout, state: ClusterState) -> Component:
    port = state.ports.virt_api
    argv = [
        str(layout.bin / "virt-api"), f"--kubeconfig={layout.kubeconfig('virt-api')}",
        f"--listen={_LOCAL}", f"--port={port}", f"--console-server-port={state.ports.virt_handler}",
        f"--tls-cert-file={layout.certificate('virt-api-server')}", f"--tls-key-file={layout.key('virt-api-server')}",
        f"--handler-cert-file={layout.certificate('virt-handler-client')}",
        f"--handler-key-file={layout.key('virt-handler-client')}",
    ]  # fmt: skip
    url = f"https://{_LOCAL}:{port}/apis/{VM_SUBRESOURCES.api_version}/healthz"
    # On SIGTERM it sleeps 5 s for a load balancer's sake; there is none here.
    return Component(
        "virt-api", argv, f"{_LOCAL}:{port}", (port,), health=Health(url, layout.certificate(KUBEVIRT_CA)), grace=0.5
    )


def _virt_controller(layout: Layout, state: ClusterState) -> Component:
    port = state.ports.virt_controller
    argv = [
        str(layout.bin / "virt-controller"), f"--kubeconfig={layout.kubeconfig('virt-controller')}",
        f"--listen={_LOCAL}", f"--port={port}",
        f"--launcher-image={_REGISTRY}/virt-launcher:v{state.kubevirt_version}",
        f"--prom-cert-file={layout.certificate('virt-controller-server')}",
        f"--prom-key-file={layout.key('virt-controller-server')}",
        # It exits when it loses its lease, and nobody here restarts it: an API server outage must not cost the lease.
        "--leader-elect-lease-duration=1h", "--leader-elect-renew-deadline=50m", "--leader-elect-retry-period=2s",
        "--vm-controller-threads=20", "--vmi-controller-threads=20", "--migration-controller-threads=10",
    ]  # fmt: skip
    health = Health(f"https://{_LOCAL}:{port}/healthz", layout.certificate(KUBEVIRT_CA))
    return Component("virt-controller", argv, f"{_LOCAL}:{port}", (port,), health=health, grace=1.0)


def read_manifests(layout: Layout) -> list[Manifest]:
    """Everything virt-operator would install. Blocks for a moment."""
    return manifests.printed_by(layout.bin / "kubevirt-manifests")


async def install(client: Client, layout: Layout, state: ClusterState, items: list[Manifest]) -> None:
    """Apply what the controllers need to start: CRDs, accounts, RBAC, the KubeVirt object and its CA."""
    authority = await asyncio.to_thread(layout.certificate(KUBEVIRT_CA).read_text)
    first = [item for item in items if item["kind"] not in _LAST]
    await manifests.apply(client, [manifests.namespace(NAMESPACE)])
    await manifests.apply(client, [*first, _authority_configmap(authority), _service(state)])
    crds = {item["metadata"]["name"] for item in first if item["kind"] == CUSTOMRESOURCEDEFINITIONS.kind}
    await until(lambda: manifests.all_established(client, crds), "KubeVirt's CRDs")
    await manifests.apply(client, [_kubevirt(state)])
    await client.patch(
        KUBEVIRTS, NAMESPACE, NAMESPACE, {"status": _kubevirt_status(state)}, kind=PatchType.MERGE, subresource="status"
    )


async def publish(client: Client, layout: Layout, state: ClusterState, items: list[Manifest]) -> None:
    """Send the API server's aggregated and admission requests to virt-api."""
    authority = await asyncio.to_thread(layout.certificate(KUBEVIRT_CA).read_bytes)
    last = [manifests.point_at(item, state.ports.virt_api, authority) for item in items if item["kind"] in _LAST]
    await manifests.apply(client, last)


async def release_lease(client: Client) -> None:
    """Forget the leader, known to be dead, so that the next virt-controller need not wait for its lease to end."""
    try:
        await client.delete(LEASES, NAMESPACE, _LEASE)
    except NotFound:
        return


async def wait_serving(client: Client) -> None:
    """Return when VirtualMachines pass the webhooks, the aggregated API answers, and virt-controller leads."""
    await until(lambda: _defaults_vms(client), "KubeVirt's webhooks")
    await until(lambda: _answers_subresources(client), "KubeVirt's subresources")
    await until(lambda: _leads(client), "virt-controller")


async def _defaults_vms(client: Client) -> bool:
    """Tried on a VirtualMachine that is never stored. One that comes back as it was has passed no webhook yet."""
    vm = {
        "apiVersion": VIRTUALMACHINES.api_version, "kind": "VirtualMachine",
        "metadata": {"name": "kubelet-bridge-dev-probe"},
        "spec": {"runStrategy": "Halted", "template": {"spec": {
            "domain": {"devices": {}, "memory": {"guest": "64Mi"}},
        }}},
    }  # fmt: skip
    body, path = msgspec.json.encode(vm), VIRTUALMACHINES.path("default")
    answer = msgspec.json.decode(await client.request("POST", path, params={"dryRun": "All"}, body=body))
    return "architecture" in answer["spec"]["template"]["spec"]


async def _answers_subresources(client: Client) -> bool:
    await client.request("GET", f"/apis/{VM_SUBRESOURCES.api_version}")
    return True


async def _leads(client: Client) -> bool:
    lease = msgspec.json.decode(await client.get(LEASES, NAMESPACE, _LEASE))
    return bool(lease["spec"].get("holderIdentity"))


def _authority_configmap(authority: str) -> Manifest:
    """What virt-api verifies virt-handlers with."""
    return {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kubevirt-ca", "namespace": NAMESPACE},
        "data": {"ca-bundle": authority},
    }  # fmt: skip


def _service(state: ClusterState) -> Manifest:
    """ExternalName resolves for the aggregator and for webhooks alike, which reach a local process through it."""
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "virt-api", "namespace": NAMESPACE},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": state.ports.virt_api}]},
    }  # fmt: skip


def _kubevirt(state: ClusterState) -> Manifest:
    """Live resize needs LiveMigrate among the update methods, which is not the default."""
    return {
        "apiVersion": KUBEVIRTS.api_version, "kind": "KubeVirt",
        "metadata": {"name": NAMESPACE, "namespace": NAMESPACE},
        "spec": {
            "imageTag": f"v{state.kubevirt_version}",
            "workloadUpdateStrategy": {"workloadUpdateMethods": ["LiveMigrate"]},
            "configuration": {
                "developerConfiguration": {},
                "apiConfiguration": _LIMITS, "controllerConfiguration": _LIMITS, "webhookConfiguration": _LIMITS,
            },
        },
    }  # fmt: skip


def _kubevirt_status(state: ClusterState) -> dict[str, Any]:
    """As virt-operator leaves it. virt-controller updates workloads only when both deployment ids agree."""
    version = f"v{state.kubevirt_version}"
    conditions = {"Available": "True", "Created": "True", "Progressing": "False", "Degraded": "False"}
    return {
        "phase": "Deployed", "operatorVersion": version, "defaultArchitecture": "amd64",
        "observedDeploymentID": _DEPLOYMENT_ID, "targetDeploymentID": _DEPLOYMENT_ID,
        "observedDeploymentConfig": "{}", "targetDeploymentConfig": "{}",
        "observedKubeVirtVersion": version, "targetKubeVirtVersion": version,
        "observedKubeVirtRegistry": _REGISTRY, "targetKubeVirtRegistry": _REGISTRY,
        "conditions": [
            {"type": kind, "status": status, "reason": "AllComponentsReady", "message": ""}
            for kind, status in conditions.items()
        ],
    }  # fmt: skip
