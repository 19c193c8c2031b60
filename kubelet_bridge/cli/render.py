"""``kubelet-bridge render``: what a Pod would become, without a cluster."""

import sys
from collections.abc import Iterator
from typing import Any, TextIO

import click
import msgspec
import yaml

from kubelet_bridge.cli.renderdisks import disks, packaged_images
from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.core import ConfigMap, Pod, Secret, Service
from kubelet_bridge.model.meta import ObjectMeta, PodKey, machine_key, vm_name
from kubelet_bridge.model.snapshot import Inputs, PodClaim, PodEvent, Snapshot
from kubelet_bridge.model.storage import ClaimPhase, ClaimStatus, PersistentVolume, PersistentVolumeClaim
from kubelet_bridge.reconcile.goldenplanner import NoGoldenImage
from kubelet_bridge.translate.claims import claim_names
from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.image import Unresolvable
from kubelet_bridge.translate.machines import is_wanted, machines, part, told, worded
from kubelet_bridge.translate.machinesupport import machine_refusals
from kubelet_bridge.translate.missing import MissingInputs
from kubelet_bridge.translate.support import CannotTranslate, refusals
from kubelet_bridge.translate.virtualmachine import Manifests, build

NO_UID = "00000000-0000-0000-0000-000000000000"
Json = dict[str, Any]


@click.command()
@click.argument("files", type=click.File(), nargs=-1, required=True)
@click.option("--node-name", default="kubelet-bridge", show_default=True, help="Name of the virtual node.")
@click.option("--images", "changes", type=click.File(), help="Changes of the image catalogue, as in its ConfigMap.")
@click.option("--output", "-o", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
def render(files: tuple[TextIO, ...], node_name: str, changes: TextIO | None, output: str) -> None:
    """Print the objects that the Pods in FILES ('-': standard input) would become; exit 1 with reasons if they cannot.

    Pods are also taken from the templates of Deployments, StatefulSets, ReplicaSets, DaemonSets, Jobs and CronJobs.
    ConfigMaps, Secrets and Services in the same files are what the Pods' environment refers to. What only a cluster
    can tell (uids) is zero.
    """
    objects = [one for file in files for one in _documents(file)]
    found = [raw for one in objects if (raw := pod_of(one)) is not None]
    if not found:
        raise Terminal("no Pod, and nothing with a Pod template, in what was given")
    images = packaged_images(changes.read() if changes else "")
    config = BridgeConfig(node_name=node_name, images=images)
    made: list[Json] = []
    failed = False
    for raw in found:
        pod = _typed(raw)
        label = f"Pod {pod.metadata.namespace}/{pod.metadata.name}"
        inputs = _inputs(objects, pod)
        manifests, reasons = translated(pod, inputs, config)
        try:
            before = [disks(world, one.boot, images, node_name) for world, one in _with_worlds(pod, inputs, manifests)]
        except NoGoldenImage as error:
            before, manifests, reasons = [], [], [error.message]
        for reason in reasons:
            click.echo(f"{label}: {reason}", err=True)
        failed = failed or not manifests
        for note in dict.fromkeys(note for one in manifests for note in one.notes):
            click.echo(f"{label}: note: {note.reason}: {note.message}", err=True)
        made += [disk for group in before for disk in group if disk not in made]
        for one in manifests:
            made += [one.secret, one.virtual_machine]
    if made:
        _print(made, output)
    if failed:
        sys.exit(1)


def translated(pod: Pod, inputs: Inputs, config: BridgeConfig) -> tuple[list[Manifests], list[str]]:
    """The manifests of each VM, or the reasons why there are none."""
    if refused := machine_refusals(pod, config) if is_wanted(pod) else refusals(pod, config):
        return [], [f"{one.field}: {one.reason}" for one in refused]
    made = []
    for world in worlds(pod, inputs):
        try:
            one = build(world, vm_name(world.key), config)
        except CannotTranslate as error:
            return [], [f"{worded(world, one.field)}: {one.reason}" for one in error.refusals]
        except Unresolvable as error:
            return [], [worded(world, error.message)]
        except MissingInputs as error:
            return [], [error.message, *map(_said, told(world, error.notes))]
        made.append(msgspec.structs.replace(one, notes=told(world, one.notes)))
    return made, []


def _with_worlds(pod: Pod, inputs: Inputs, manifests: list[Manifests]) -> list[tuple[Snapshot, Manifests]]:
    return list(zip(worlds(pod, inputs), manifests, strict=True)) if manifests else []


def worlds(pod: Pod, inputs: Inputs) -> list[Snapshot]:
    """The world of the Pod's one VM, or that of each container's, in the order in which they begin."""
    key = PodKey(pod.metadata.namespace, pod.metadata.name, pod.metadata.uid)
    if not is_wanted(pod):
        return [Snapshot(key=key, pod=pod, inputs=inputs)]
    parts = [found for machine in machines(pod) if (found := part(pod, machine.container)) is not None]
    return [
        Snapshot(key=machine_key(key, machine.container), pod=apart, machine=machine, inputs=inputs)
        for apart, machine in parts
    ]


def pod_of(one: Json) -> Json | None:
    """The Pod that an object is, or makes: the template of a workload, named as its first Pod would be."""
    kind, spec = one.get("kind"), one.get("spec") or {}
    if kind == "Pod":
        return one
    if kind == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    elif kind not in ("Deployment", "StatefulSet", "ReplicaSet", "DaemonSet", "Job", "ReplicationController"):
        return None
    template, owner = spec.get("template") or {}, one.get("metadata") or {}
    name = f"{owner.get('name', 'pod')}-0" if kind == "StatefulSet" else owner.get("name", "pod")
    metadata = {**(template.get("metadata") or {}), "name": name}
    if "namespace" in owner:
        metadata["namespace"] = owner["namespace"]
    return {"kind": "Pod", "metadata": metadata, "spec": template.get("spec") or {}}


def _documents(file: TextIO) -> Iterator[Json]:
    try:
        for one in yaml.safe_load_all(file):
            if not isinstance(one, dict | None):
                raise Terminal(f"{file.name}: want Kubernetes objects, got {type(one).__name__}")
            if one is not None:
                yield from one.get("items") or [] if str(one.get("kind", "")).endswith("List") else [one]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Terminal(f"{file.name}: {' '.join(str(error).split())}") from error


def _typed(raw: Json) -> Pod:
    name = (raw.get("metadata") or {}).get("name", "?")
    try:
        pod = msgspec.convert(raw, Pod)
    except msgspec.ValidationError as error:
        raise Terminal(f"Pod {name}: {error}") from error
    metadata = msgspec.structs.replace(
        pod.metadata, namespace=pod.metadata.namespace or "default", uid=pod.metadata.uid or NO_UID
    )
    return msgspec.structs.replace(pod, metadata=metadata)


def _inputs(objects: list[Json], pod: Pod) -> Inputs:
    def of(kind: str) -> list[Json]:
        namespace = pod.metadata.namespace
        return [
            one for one in objects
            if one.get("kind") == kind and ((one.get("metadata") or {}).get("namespace") or "default") == namespace
        ]  # fmt: skip

    config_maps = [msgspec.convert(one, ConfigMap) for one in of("ConfigMap")]
    secrets = [msgspec.convert(_merged(one), Secret) for one in of("Secret")]
    return Inputs(
        config_maps={one.metadata.name: one for one in config_maps},
        secrets={one.metadata.name: one for one in secrets},
        services=[msgspec.convert(one, Service) for one in of("Service")],
        claims={name: _as_if_bound(name) for name in claim_names(pod).values()},
    )


def _as_if_bound(name: str) -> PodClaim:
    """Without a cluster nobody knows what is behind a claim: it stands for itself."""
    claim = PersistentVolumeClaim(metadata=ObjectMeta(name=name), status=ClaimStatus(phase=ClaimPhase.BOUND.value))
    return PodClaim(claim, PersistentVolume())


def _merged(secret: Json) -> Json:
    """``stringData`` as the API server would store it."""
    text = {key: str(value).encode() for key, value in (secret.get("stringData") or {}).items()}
    return {**secret, "data": {**(secret.get("data") or {}), **text}}


def _said(note: PodEvent) -> str:
    return f"{note.reason}: {note.message}"


def _print(objects: list[Json], output: str) -> None:
    plain = msgspec.json.decode(msgspec.json.encode(objects))
    if output == "json":
        listed = {"apiVersion": "v1", "kind": "List", "items": plain}
        click.echo(msgspec.json.format(msgspec.json.encode(listed), indent=2).decode())
    else:
        click.echo(yaml.safe_dump_all(plain, sort_keys=False, width=120), nl=False)
