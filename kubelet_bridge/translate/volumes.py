"""Disks and volumes: what the VM boots from, the Pod's volumes, and cloud-init.

The guest finds a volume's disk by its serial number, ``/dev/disk/by-id/virtio-SERIAL``. Where the VM itself is the
workload, ConfigMaps and Secrets come as a CD image whose label is the same. Where an agent runs the containers, only
claims are disks: the manifest brings files, and an ``emptyDir`` is a directory in the guest.
"""

from collections.abc import Collection, Iterator, Mapping
from itertools import count
from typing import Any

import msgspec

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.intent import Hosting
from kubelet_bridge.model.meta import short_hash
from kubelet_bridge.model.quantity import Quantity
from kubelet_bridge.translate.claims import claim_names
from kubelet_bridge.translate.claims import source as claim_source
from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.disksettings import settings
from kubelet_bridge.translate.image import BootImage, ImageKind, boot_claim, hosting
from kubelet_bridge.translate.resources import promised

SCRATCH_SERIAL = "kubelet-scratch"
"""Of the disk that the runtime image mounts at ``/var/lib/containers``."""

_SERIAL_LENGTH = 20  # what a virtio disk can tell its guest
_ADMISSION_VOLUME = "kube-api-access-"


class Disks(msgspec.Struct, frozen=True):
    """``domain.devices.disks`` and ``volumes``, in the same order, and the bytes of scratch disks among them."""

    disks: list[dict[str, Any]]
    volumes: list[dict[str, Any]]
    scratch: int


def source_of(volume: dict[str, Any]) -> str:
    """The key that says what a Pod's volume is; one without a source is an ``emptyDir``."""
    return next((key for key in volume if key != "name"), "emptyDir")


def is_token_volume(volume: dict[str, Any]) -> bool:
    """Whether it is the volume with the ServiceAccount's token that admission adds to every Pod."""
    name = volume.get("name") or ""
    return name.startswith(_ADMISSION_VOLUME) and source_of(volume) == "projected"


def serial(volume_name: str) -> str:
    """The serial number and label of a volume's disk: its name, or one that fits and still tells two apart."""
    if len(volume_name) <= _SERIAL_LENGTH and volume_name != SCRATCH_SERIAL:
        return volume_name
    return f"{volume_name[: _SERIAL_LENGTH - 9]}-{short_hash(volume_name)}"


def build(
    pod: Pod,
    boot: BootImage,
    cloud_init_secret: str,
    config: BridgeConfig,
    claims: Mapping[str, str],
    *,
    root_disk: str = "",
    read_only: Collection[str] = (),
) -> Disks:
    """The VM's disks: first that of its image, if it boots one, last cloud-init's.

    ``claims`` are the real ones (``translate.claims``), by name of the volume. ``root_disk`` is the DataVolume of an
    image that needs a disk of its own (``rootdisk.has_one``). ``read_only`` are the volumes that nobody may write to.
    """
    taken = {str(volume.get("name")) for volume in pod.spec.volumes}
    root, cloud_init = _free_name("root", taken), _free_name("cloudinit", taken)
    own = root_volume(pod)
    disks: list[dict[str, Any]] = []
    volumes: list[dict[str, Any]] = []
    if not own:
        disks.append({"name": root, "disk": {"bus": "virtio"}, "bootOrder": _boot_order(pod)})
        volumes.append({"name": root, **_root(pod, boot, root_disk)})
    for name, source in pod_volumes(pod, config, claims, read_only):
        order = {"bootOrder": _boot_order(pod)} if name == own else {}
        disks.append(
            {"name": name, **order, **settings(pod, name).device(read_only=name in read_only), "serial": serial(name)}
        )
        volumes.append({"name": name, **source})
    if boot.kind is ImageKind.OCI_APPLICATION:
        scratch_name = _free_name("scratch", taken)
        disks.append({"name": scratch_name, "disk": {"bus": "virtio"}, "serial": SCRATCH_SERIAL})
        volumes.append({"name": scratch_name, "emptyDisk": {"capacity": _scratch_size(pod, config).canonical()}})
    reference = {"name": cloud_init_secret}
    disks.append({"name": cloud_init, "disk": {"bus": "virtio"}})
    volumes.append(
        {"name": cloud_init, "cloudInitNoCloud": {"secretRef": reference, "networkDataSecretRef": reference}}
    )
    scratch = sum(Quantity.parse(one["emptyDisk"]["capacity"]).ceil() for one in volumes if "emptyDisk" in one)
    return Disks(disks, volumes, scratch)


def root_volume(pod: Pod) -> str:
    """The volume whose claim the VM boots from; empty when it boots an image."""
    root = boot_claim(pod)
    return next((name for name, claim in claim_names(pod).items() if root and claim == root), "")


def _boot_order(pod: Pod) -> int:
    """Of the disk with the system: the first place that no volume asks for."""
    taken = {settings(pod, str(one.get("name"))).boot_order for one in pod.spec.volumes}
    return next(order for order in count(1) if order not in taken)


def _free_name(wanted: str, taken: set[str]) -> str:
    while wanted in taken:
        wanted = f"{wanted}-vm"
    return wanted


def _scratch_size(pod: Pod, config: BridgeConfig) -> Quantity:
    return promised(pod, "ephemeral-storage") or Quantity.parse(config.scratch_size)


def _root(pod: Pod, boot: BootImage, root_disk: str) -> dict[str, Any]:
    if root_disk:
        return {"dataVolume": {"name": root_disk}}
    return {"containerDisk": _container_disk(pod, boot)}


def _container_disk(pod: Pod, boot: BootImage) -> dict[str, Any]:
    """Pull policy and secret of the Pod are for the images it names; the runtime image is not one of them."""
    if boot.kind is ImageKind.OCI_APPLICATION:
        return {"image": boot.reference}
    policy = pod.spec.containers[0].image_pull_policy
    secret = next((one.name for one in pod.spec.image_pull_secrets if one.name), "")
    optional = {"imagePullPolicy": policy, "imagePullSecret": secret}
    return {"image": boot.reference, **{field: value for field, value in optional.items() if value}}


def pod_volumes(
    pod: Pod, config: BridgeConfig, claims: Mapping[str, str], read_only: Collection[str] = ()
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Those of the Pod's volumes that become disks, as ``(name, KubeVirt's volume source)``."""
    managed = hosting(pod, config) is not Hosting.MACHINE
    for volume in pod.spec.volumes:
        kind = source_of(volume)
        if managed and kind != "persistentVolumeClaim":
            continue
        name = str(volume.get("name"))
        source = (
            claim_source(claims[name], read_only=name in read_only)
            if kind == "persistentVolumeClaim"
            else _disk_source(kind, volume.get(kind) or {}, serial(name), config)
        )
        if source:
            yield name, source


def _disk_source(kind: str, source: dict[str, Any], label: str, config: BridgeConfig) -> dict[str, Any] | None:
    match kind:
        case "emptyDir":
            size = Quantity.parse(source.get("sizeLimit") or 0) or Quantity.parse(config.default_volume_size)
            return {"emptyDisk": {"capacity": size.canonical()}}
        case "configMap":
            return {"configMap": {"name": source.get("name"), **_optional(source), "volumeLabel": label}}
        case "secret":
            return {"secret": {"secretName": source.get("secretName"), **_optional(source), "volumeLabel": label}}
        case _:
            return None


def _optional(source: dict[str, Any]) -> dict[str, Any]:
    return {"optional": True} if source.get("optional") else {}
