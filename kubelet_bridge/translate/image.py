"""What a VM boots from: the boot annotation, the container's ``image``, or the runtime image, in which that runs.

Grammar of image references: ``github.com/distribution/reference``, regexp.go.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum

import msgspec

from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.core import Container, Pod
from kubelet_bridge.model.intent import Hosting
from kubelet_bridge.translate import annotations as wanted
from kubelet_bridge.translate.config import BridgeConfig

CONTAINER_DISK_SCHEME = "containerdisk://"
CONTAINER_DISK_FOLDER = "/containerdisks/"
IMAGE_FIELD = "spec.containers[0].image"
BOOT_FIELD = f"metadata.annotations[{wanted.BOOT}]"

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"(?:sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128})"
_REFERENCE = re.compile(
    rf"(?:{_DOMAIN}/)?(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)(?::{_TAG})?(?:@{_DIGEST})?", re.ASCII
)
_BARE_DIGEST = re.compile(r"[a-f0-9]{64}")
_LONGEST_PATH = 255
_LONGEST_REFERENCE = 1024


class ImageKind(StrEnum):
    """The kinds of things a VM can boot from."""

    CONTAINER_DISK = "ContainerDisk"
    CATALOGUE = "Catalogue"
    PVC = "Pvc"
    HTTP = "Http"
    OCI_APPLICATION = "OciApplication"


_UNSUPPORTED = {"pvc://": ImageKind.PVC, "http://": ImageKind.HTTP, "https://": ImageKind.HTTP}


class BootImage(msgspec.Struct, frozen=True):
    """What to boot, resolved: ``reference`` is the OCI image reference of a container disk.

    For an application image that is the runtime image, in which the agent runs the Pod's containers.
    """

    kind: ImageKind
    reference: str


class Unresolvable(Terminal):
    """Nothing to boot from, until somebody changes ``field``."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}", reason="InvalidImageName")
        self.field = field
        self.why = reason


def resolve(image: str, annotations: Mapping[str, str], *, runtime_image: str = "") -> BootImage:
    """What ``image`` and the boot annotation, which goes first, come to.

    The annotation names a container disk: an OCI image with a disk under ``/disk``. So does ``image``, when it begins
    with ``containerdisk://``, has a folder ``containerdisks``, or when there is no ``runtime_image``; every other
    reference is an application's.

    Raises:
        Unresolvable: neither is something this version boots.
    """
    boot = annotations.get(wanted.BOOT, "")
    field, text = (BOOT_FIELD, boot) if boot else (IMAGE_FIELD, image)
    reference = _reference(field, text)
    if boot or not runtime_image or is_container_disk(text):
        return BootImage(ImageKind.CONTAINER_DISK, reference)
    return BootImage(ImageKind.OCI_APPLICATION, runtime_image)


def boot_image(pod: Pod, config: BridgeConfig) -> BootImage:
    """What the VM of ``pod`` boots from; every container of it has a reference that can be one.

    Raises:
        Unresolvable: this version does not boot it, or a container's image is none.
    """
    boot = resolve(_first_image(pod), pod.metadata.annotations, runtime_image=_runtime_image(config))
    if boot.kind is ImageKind.OCI_APPLICATION:
        for path, container in _with_paths(pod):
            _reference(f"{path}.image", container.image)
    return boot


def hosting(pod: Pod, config: BridgeConfig) -> Hosting:
    """How the Pod's containers live in its VM.

    The agent runs application images; on an OS image it runs commands. One container without a command, and nothing
    beside it, is the machine itself.
    """
    if not config.has_agents or not pod.spec.containers:
        return Hosting.MACHINE
    if runs_applications(pod, config):
        return Hosting.OCI
    several = len(pod.spec.containers) > 1 or pod.spec.init_containers
    commanded = any(one.command or one.args for one in pod.spec.containers)
    return Hosting.SYSTEM if several or commanded else Hosting.MACHINE


def runs_applications(pod: Pod, config: BridgeConfig) -> bool:
    """Whether the VM boots the runtime image; also of a Pod whose reference is none that could be pulled."""
    chosen = pod.metadata.annotations.get(wanted.BOOT, "")
    return bool(_runtime_image(config)) and not chosen and not is_container_disk(_first_image(pod))


def is_agent_managed(pod: Pod, config: BridgeConfig) -> bool:
    """Whether the agent in the guest runs the Pod's containers, and its reports are their states."""
    return hosting(pod, config) is not Hosting.MACHINE


def is_container_disk(image: str) -> bool:
    """Whether an image reference says of itself that it is an OS."""
    return image.startswith(CONTAINER_DISK_SCHEME) or CONTAINER_DISK_FOLDER in image


def _first_image(pod: Pod) -> str:
    return pod.spec.containers[0].image if pod.spec.containers else ""


def _runtime_image(config: BridgeConfig) -> str:
    """Without an agent nobody would run anything in it."""
    return config.runtime_image if config.has_agents else ""


def _with_paths(pod: Pod) -> Iterator[tuple[str, Container]]:
    for kind, group in (("containers", pod.spec.containers), ("initContainers", pod.spec.init_containers)):
        yield from ((f"spec.{kind}[{index}]", container) for index, container in enumerate(group))


def _reference(field: str, text: str) -> str:
    for scheme, kind in _UNSUPPORTED.items():
        if text.startswith(scheme):
            raise Unresolvable(
                field, f'"{text}" is not supported by this version, which boots container disks only ({kind})'
            )
    reference = text.removeprefix(CONTAINER_DISK_SCHEME)
    if fault := reference_fault(reference):
        raise Unresolvable(field, f'couldn\'t parse image name "{text}": {fault}')
    return reference


def reference_fault(reference: str) -> str:
    """What is wrong with an image reference, in the words a kubelet uses; empty when nothing is."""
    if not reference:
        return "repository name must have at least one component"
    if len(reference) > _LONGEST_REFERENCE:
        return f"invalid reference format: longer than {_LONGEST_REFERENCE} characters"
    if _BARE_DIGEST.fullmatch(reference):
        return f"invalid repository name ({reference}), cannot specify 64-byte hexadecimal strings"
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        lowercase = reference != reference.lower() and _REFERENCE.fullmatch(reference.lower())
        return "invalid reference format" + (": repository name must be lowercase" if lowercase else "")
    if len(match["path"]) > _LONGEST_PATH:
        return f"repository name must not be more than {_LONGEST_PATH} characters"
    return ""
