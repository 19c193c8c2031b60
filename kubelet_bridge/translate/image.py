"""What a VM boots from: the boot annotation, the container's ``image``, or the runtime image, in which that runs.

Which spelling means what, and why: ``docs/adr/0011-names-of-images.md``.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum

import msgspec

from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.catalogue import Catalogue, Image
from kubelet_bridge.model.core import Container, Pod
from kubelet_bridge.model.intent import Hosting
from kubelet_bridge.model.meta import is_dns_subdomain
from kubelet_bridge.model.snapshot import EventType, PodEvent
from kubelet_bridge.translate import annotations as wanted
from kubelet_bridge.translate.catalogue.checks import url_fault
from kubelet_bridge.translate.catalogue.lookup import UnknownImage, exact, find
from kubelet_bridge.translate.catalogue.spelling import has_version
from kubelet_bridge.translate.claims import claim_names
from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.reference import reference_fault

CONTAINER_DISK_SCHEME = "containerdisk://"
CONTAINER_DISK_FOLDER = "/containerdisks/"
CLAIM_SCHEME = "pvc://"
IMAGE_FIELD = "spec.containers[0].image"
BOOT_FIELD = f"metadata.annotations[{wanted.BOOT}]"


class ImageKind(StrEnum):
    """The kinds of things a VM can boot from."""

    CONTAINER_DISK = "ContainerDisk"
    CATALOGUE = "Catalogue"
    PVC = "Pvc"
    HTTP = "Http"
    OCI_APPLICATION = "OciApplication"


_HTTP_SCHEMES = ("http://", "https://")
_OF_REFERENCES = frozenset("/:@")
"""What a name in the catalogue never has where an image reference may stand."""


class BootImage(msgspec.Struct, frozen=True):
    """What to boot, resolved.

    Attributes:
        kind: what it is.
        reference: by kind: the OCI image reference of a container disk (of an application: of the runtime image, in
            which the agent runs the Pod's containers), the canonical name in the catalogue, ``pvc://CLAIM``, the URL.
        image: the catalogue's entry, where it is one.
    """

    kind: ImageKind
    reference: str
    image: Image | None = None


class Unresolvable(Terminal):
    """Nothing to boot from, until somebody changes ``field``."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}", reason="InvalidImageName")
        self.field = field
        self.why = reason


def resolve(
    image: str, annotations: Mapping[str, str], *, runtime_image: str = "", catalogue: Catalogue | None = None
) -> BootImage:
    """What ``image`` and the boot annotation, which goes first, come to.

    The first that fits: a name in the catalogue, a container disk (it begins with ``containerdisk://`` or has a folder
    ``containerdisks``), ``pvc://CLAIM``, ``http(s)://…``. Every other reference in the annotation is a container disk
    too, and in ``image`` an application's, unless there is no ``runtime_image``.

    Without a ``catalogue`` there are no names and URLs.

    Raises:
        Unresolvable: neither is something to boot.
    """
    boot = annotations.get(wanted.BOOT, "")
    field, text = (BOOT_FIELD, boot) if boot else (IMAGE_FIELD, image)
    if text.startswith(CLAIM_SCHEME):
        return _claim(field, text)
    if system := _disk(field, text, catalogue, annotated=bool(boot)):
        return system
    reference = _reference(field, text)
    if boot or not runtime_image or is_os_image(text):
        return BootImage(ImageKind.CONTAINER_DISK, reference)
    return BootImage(ImageKind.OCI_APPLICATION, runtime_image)


def _claim(field: str, text: str) -> BootImage:
    if not is_dns_subdomain(text.removeprefix(CLAIM_SCHEME)):
        raise Unresolvable(field, f'"{text}" is not pvc://CLAIM, with a claim of the Pod\'s namespace')
    return BootImage(ImageKind.PVC, text)


def _disk(field: str, text: str, catalogue: Catalogue | None, *, annotated: bool) -> BootImage | None:
    """What needs a disk of its own, with the image on it; None for what is an image reference."""
    if catalogue is None:
        return None
    entry = _annotated(field, text, catalogue) if annotated else _named(field, text, catalogue)
    if entry is not None:
        return BootImage(ImageKind.CATALOGUE, entry.name, entry)
    if text.startswith(_HTTP_SCHEMES):
        if fault := url_fault(text):
            raise Unresolvable(field, fault)
        return BootImage(ImageKind.HTTP, text)
    return None


def _annotated(field: str, text: str, catalogue: Catalogue) -> Image | None:
    """Of the boot annotation: whatever has neither a folder nor a digest is a name; ``ubuntu:22.04`` is one too."""
    if "/" in text or "@" in text:
        return None
    try:
        return find(catalogue, text)
    except UnknownImage as unknown:
        way_out = f" (a container disk that is called so is {CONTAINER_DISK_SCHEME}{text})"
        raise Unresolvable(field, unknown.message + ("" if reference_fault(text) else way_out)) from unknown


def _named(field: str, text: str, catalogue: Catalogue) -> Image | None:
    """Of ``image``: names are what no registry's application is called, so that none is taken for an OS."""
    if _OF_REFERENCES.intersection(text):
        return None
    if entry := exact(catalogue, text):
        return entry
    if not (reference_fault(text) or has_version(text)):
        return None
    try:
        return find(catalogue, text)
    except UnknownImage as unknown:
        if not unknown.nearest:
            return None
        way_out = f" (an application that is called so is docker.io/library/{text})"
        raise Unresolvable(field, unknown.message + ("" if reference_fault(text) else way_out)) from unknown


def boot_image(pod: Pod, config: BridgeConfig) -> BootImage:
    """What the VM of ``pod`` boots from; every container of it has a reference that can be one.

    Raises:
        Unresolvable: this node does not boot it, or a container's image is none.
    """
    boot = resolve(
        _first_image(pod),
        pod.metadata.annotations,
        runtime_image=_runtime_image(config),
        catalogue=config.images.catalogue if config.images else None,
    )
    if boot.image is not None and boot.image.architecture != config.architecture:
        what = (
            f"{boot.image.name} is for {boot.image.architecture}, and virtual machines here are {config.architecture}"
        )
        raise Unresolvable(_boot_field(pod), what)
    if (claim := boot_claim(pod)) and claim not in claim_names(pod).values():
        why = "is not among the Pod's volumes: only as one of these it is bound for the Pod, and kept while it runs"
        raise Unresolvable(_boot_field(pod), f'claim "{claim}" {why}')
    if boot.kind is ImageKind.OCI_APPLICATION:
        for path, container in _with_paths(pod):
            _application(f"{path}.image", container.image, config.images.catalogue if config.images else None)
    return boot


def _application(field: str, text: str, catalogue: Catalogue | None) -> None:
    """Of a container beside applications: an OS, or a name that is nearly one's, would be pulled as an application."""
    entry = _named(field, text, catalogue) if catalogue else None
    if entry is None and not is_os_image(text) and not text.startswith(_HTTP_SCHEMES):
        _reference(field, text)
        return
    what = f"{entry.title} ({entry.name})" if entry is not None else f'"{text}"'
    raise Unresolvable(
        field,
        f"{what} is an operating system, and the containers beside it run in one virtual machine, which boots another: "
        f"give it a Pod of its own, or each container a virtual machine ({wanted.CONTAINERS}: vm-per-container)",
    )


def notes(boot: BootImage) -> list[PodEvent]:
    """Events about the image itself."""
    if boot.image is None or not boot.image.deprecated:
        return []
    return [PodEvent(EventType.WARNING, "ImageDeprecated", f"{boot.image.title}: {boot.image.deprecated}")]


def boot_claim(pod: Pod) -> str:
    """The claim that the VM of ``pod`` boots from; empty when it boots an image."""
    text = pod.metadata.annotations.get(wanted.BOOT) or _first_image(pod)
    return text.removeprefix(CLAIM_SCHEME) if text.startswith(CLAIM_SCHEME) else ""


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
    if not _runtime_image(config) or pod.metadata.annotations.get(wanted.BOOT, ""):
        return False
    return not is_os_image(_first_image(pod)) and not _is_disk(_first_image(pod), config)


def _is_disk(image: str, config: BridgeConfig) -> bool:
    try:
        found = _disk(IMAGE_FIELD, image, config.images.catalogue if config.images else None, annotated=False)
    except Unresolvable:
        return True
    return found is not None


def is_agent_managed(pod: Pod, config: BridgeConfig) -> bool:
    """Whether the agent in the guest runs the Pod's containers, and its reports are their states."""
    return hosting(pod, config) is not Hosting.MACHINE


def is_os_image(image: str) -> bool:
    """Whether an image reference says of itself that it is an OS."""
    return image.startswith((CONTAINER_DISK_SCHEME, CLAIM_SCHEME)) or CONTAINER_DISK_FOLDER in image


def _boot_field(pod: Pod) -> str:
    return BOOT_FIELD if pod.metadata.annotations.get(wanted.BOOT) else IMAGE_FIELD


def _first_image(pod: Pod) -> str:
    return pod.spec.containers[0].image if pod.spec.containers else ""


def _runtime_image(config: BridgeConfig) -> str:
    """Without an agent nobody would run anything in it."""
    return config.runtime_image if config.has_agents else ""


def _with_paths(pod: Pod) -> Iterator[tuple[str, Container]]:
    for kind, group in (("containers", pod.spec.containers), ("initContainers", pod.spec.init_containers)):
        yield from ((f"spec.{kind}[{index}]", container) for index, container in enumerate(group))


def _reference(field: str, text: str) -> str:
    if text.startswith(_HTTP_SCHEMES):
        raise Unresolvable(field, f'"{text}" needs CDI and a namespace for images, which this node is not given')
    reference = text.removeprefix(CONTAINER_DISK_SCHEME)
    if fault := reference_fault(reference):
        raise Unresolvable(field, f'couldn\'t parse image name "{text}": {fault}')
    return reference
