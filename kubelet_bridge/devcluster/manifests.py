"""Kubernetes objects as data: reading KubeVirt's own, fitting them to this cluster, and applying any of them."""

import asyncio
import base64
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from kubelet_bridge.errors import Terminal
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.resources import CUSTOMRESOURCEDEFINITIONS, Resource

FIELD_MANAGER = "kubelet-bridge-dev"
_AT_ONCE = 8

Manifest = dict[str, Any]
"""One object, decoded: we only pass it on, so it has no type of its own."""

_PLURALS = {
    "ConfigMap": ("configmaps", True),
    "Namespace": ("namespaces", False),
    "Service": ("services", True),
    "ServiceAccount": ("serviceaccounts", True),
    "Role": ("roles", True),
    "RoleBinding": ("rolebindings", True),
    "ClusterRole": ("clusterroles", False),
    "ClusterRoleBinding": ("clusterrolebindings", False),
    "PriorityClass": ("priorityclasses", False),
    "CustomResourceDefinition": ("customresourcedefinitions", False),
    "APIService": ("apiservices", False),
    "MutatingWebhookConfiguration": ("mutatingwebhookconfigurations", False),
    "ValidatingWebhookConfiguration": ("validatingwebhookconfigurations", False),
    "KubeVirt": ("kubevirts", True),
    "CDI": ("cdis", False),
    "StorageProfile": ("storageprofiles", False),
    "Secret": ("secrets", True),
    "StorageClass": ("storageclasses", False),
    "CSIDriver": ("csidrivers", False),
}


def resource_of(manifest: Manifest) -> Resource:
    """The API resource an object belongs to."""
    group, _, version = str(manifest["apiVersion"]).rpartition("/")
    plural, namespaced = _PLURALS[manifest["kind"]]
    return Resource(group, version, plural, manifest["kind"], namespaced)


async def apply(client: Client, manifests: Iterable[Manifest]) -> None:
    """Apply each, several at a time, on the server: the annotation of a client-side apply cannot hold KubeVirt's CRDs.

    Raises:
        ApiError: of the first that fails.
    """
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        async with slots:
            resource, namespace = resource_of(manifest), metadata.get("namespace")
            await client.apply(resource, namespace, metadata["name"], manifest, field_manager=FIELD_MANAGER)

    try:
        async with asyncio.TaskGroup() as group:
            for manifest in manifests:
                group.create_task(one(manifest), name=f"apply {manifest['kind']} {manifest['metadata']['name']}")
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


def printed_by(program: Path) -> list[Manifest]:
    """What one of our ``manifests`` commands prints. Blocks for a moment.

    Raises:
        Terminal: it failed.
    """
    printed = subprocess.run([program], capture_output=True, check=False)
    if printed.returncode != 0:
        raise Terminal(f"{program.name} failed: {printed.stderr.decode(errors='replace').strip()[-300:]}")
    return decode_list(printed.stdout)


async def all_established(client: Client, names: set[str]) -> bool:
    """Whether the API server serves these CustomResourceDefinitions."""
    answer = msgspec.json.decode(await client.list(CUSTOMRESOURCEDEFINITIONS))
    return names <= {crd["metadata"]["name"] for crd in answer["items"] if _established(crd)}


def _established(crd: dict[str, Any]) -> bool:
    conditions = crd.get("status", {}).get("conditions") or []
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)


def decode_list(printed: bytes) -> list[Manifest]:
    """The items of a ``v1`` List, without the empty ``status`` that Go prints and the API server refuses."""
    items: list[Manifest] = msgspec.json.decode(printed)["items"]
    for item in items:
        item.pop("status", None)
    return items


def point_at(manifest: Manifest, port: int, authority: bytes) -> Manifest:
    """An APIService or webhook configuration, its Service reached on ``port`` and verified by ``authority`` (PEM)."""
    bundle = base64.b64encode(authority).decode()
    if manifest["kind"] == "APIService":
        spec = manifest["spec"]
        return {**manifest, "spec": {**spec, "caBundle": bundle, "service": {**spec["service"], "port": port}}}

    def fitted(webhook: Manifest) -> Manifest:
        service = {**webhook["clientConfig"]["service"], "port": port}
        return {**webhook, "clientConfig": {"service": service, "caBundle": bundle}}

    return {**manifest, "webhooks": [fitted(webhook) for webhook in manifest["webhooks"]]}


def namespace(name: str) -> Manifest:
    """A Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def cluster_role_binding(name: str, role: str, subject: dict[str, str]) -> Manifest:
    """Bind a ClusterRole to one subject, for the whole cluster."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }  # fmt: skip
