"""Pods and what belongs to them, from YAML or from a few fields."""

import base64
from datetime import UTC, datetime
from typing import Any

import msgspec

from kubelet_bridge.model.core import ConfigMap, Pod, Secret, Service
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.meta import ObjectMeta, PodKey, vm_name
from kubelet_bridge.model.snapshot import Inputs, PodClaim, Snapshot
from kubelet_bridge.model.storage import PersistentVolume, PersistentVolumeClaim
from kubelet_bridge.translate.claims import claim_names
from kubelet_bridge.translate.config import BridgeConfig, GuestAccess
from kubelet_bridge.translate.environment import references
from kubelet_bridge.translate.virtualmachine import Manifests, build

CONFIG = BridgeConfig(node_name="kubelet-bridge")
GUESTS = BridgeConfig(
    node_name="kubelet-bridge",
    guest=GuestAccess(
        address="192.0.2.10:10251", files_url="https://192.0.2.10:10252", ca="CA", key=b"key", agent_version="1.0",
        agent_digest="ab" * 32, agent_size=1000,
    ),
    runtime_image="registry.example.com/runtime:1",
    registries_conf='unqualified-search-registries = ["docker.io"]',
)  # fmt: skip
"""A node whose guests have agents."""

UID = "5b0d4b0e-7f4e-4a34-9a53-2d1f1f0c0001"


def pod(spec: dict[str, Any] | None = None, *, name: str = "web", **metadata: Any) -> Pod:
    """A Pod of one container, with ``spec`` over it."""
    given = {"nodeName": "kubelet-bridge", "containers": [{"name": "app", "image": "example.com/os:1"}], **(spec or {})}
    head = {"name": name, "namespace": "shop", "uid": UID, **metadata}
    return msgspec.convert({"metadata": head, "spec": given}, Pod)


def container(**fields: Any) -> Pod:
    """A Pod whose one container has ``fields``."""
    return pod({"containers": [{"name": "app", "image": "example.com/os:1", **fields}]})


def config_map(name: str, **data: str) -> ConfigMap:
    return msgspec.convert({"metadata": {"name": name, "namespace": "shop"}, "data": data}, ConfigMap)


def secret(name: str, **data: str | bytes) -> Secret:
    encoded = {key: value if isinstance(value, bytes) else value.encode() for key, value in data.items()}
    return Secret(metadata=ObjectMeta(name=name, namespace="shop"), data=encoded)


def inputs_of(documents: list[dict[str, Any]], of: Pod) -> Inputs:
    """What ``of`` points at, among the documents; the rest of its references map to None."""
    config_maps, secrets = references(of)
    found: dict[str, dict[str, dict[str, Any]]] = {"ConfigMap": {}, "Secret": {}, "Service": {}}
    for document in documents:
        if document["kind"] in found:
            found[document["kind"]][document["metadata"]["name"]] = document
    return Inputs(
        config_maps={
            name: msgspec.convert(found["ConfigMap"][name], ConfigMap) if name in found["ConfigMap"] else None
            for name in config_maps
        },
        secrets={name: _secret(found["Secret"][name]) if name in found["Secret"] else None for name in secrets},
        services=[msgspec.convert(one, Service) for one in found["Service"].values()],
        claims=bound_claims(of),
    )


def bound_claims(of: Pod) -> dict[str, PodClaim | None]:
    """The Pod's claims, each bound to a volume that every node reaches."""
    return {name: bound_claim(name) for name in claim_names(of).values()}


def bound_claim(name: str, *, volume: dict[str, Any] | None = None, **spec: Any) -> PodClaim:
    """A claim bound to a volume of another provisioner; ``volume`` is over that one's spec."""
    head = {"name": name, "namespace": "shop"}
    given = {"metadata": head, "spec": {"volumeName": "pv", **spec}, "status": {"phase": "Bound"}}
    bound = {"metadata": {"name": "pv"}, "spec": {"csi": {"driver": "csi.example.com"}, **(volume or {})}}
    return PodClaim(msgspec.convert(given, PersistentVolumeClaim), msgspec.convert(bound, PersistentVolume))


def _secret(document: dict[str, Any]) -> Secret:
    data = {key: base64.b64encode(text.encode()).decode() for key, text in document.get("stringData", {}).items()}
    return msgspec.convert({**document, "data": {**document.get("data", {}), **data}}, Secret)


def snapshot(of: Pod, inputs: Inputs | None = None) -> Snapshot:
    """The world of an accepted Pod before its VM is made."""
    metadata = of.metadata
    key = PodKey(metadata.namespace, metadata.name, metadata.uid)
    intent = Intent(
        uid=key.uid, id="dpl_0golden0", namespace=key.namespace, name=key.name, vm_name=vm_name(key),
        accepted_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    return Snapshot(key=key, pod=of, intent=intent, inputs=inputs or Inputs(claims=bound_claims(of)))


def built(of: Pod, inputs: Inputs | None = None, config: BridgeConfig = CONFIG) -> Manifests:
    """What is applied for the Pod."""
    world = snapshot(of, inputs)
    return build(world, vm_name(world.key), config)


def instance(of: Pod, inputs: Inputs | None = None, config: BridgeConfig = CONFIG) -> dict[str, Any]:
    """``spec.template.spec`` of the Pod's VM."""
    spec: dict[str, Any] = built(of, inputs, config).virtual_machine["spec"]["template"]["spec"]
    return spec
