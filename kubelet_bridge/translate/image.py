"""What a VM boots from: the boot annotation, or else the container's ``image``.

Grammar of image references: ``github.com/distribution/reference``, regexp.go.
"""

import re
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from kubelet_bridge.errors import Terminal
from kubelet_bridge.translate import annotations as wanted

CONTAINER_DISK_SCHEME = "containerdisk://"
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
    """What to boot, resolved. ``reference`` is an OCI image reference for a container disk."""

    kind: ImageKind
    reference: str


class Unresolvable(Terminal):
    """Nothing to boot from, until somebody changes ``field``."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}", reason="InvalidImageName")
        self.field = field
        self.why = reason


def resolve(image: str, annotations: Mapping[str, str]) -> BootImage:
    """What ``image`` and the boot annotation, which goes first, come to.

    Every image reference is a container disk: an OCI image with a disk under ``/disk``.

    Raises:
        Unresolvable: neither is something this version boots.
    """
    boot = annotations.get(wanted.BOOT, "")
    field, text = (BOOT_FIELD, boot) if boot else (IMAGE_FIELD, image)
    for scheme, kind in _UNSUPPORTED.items():
        if text.startswith(scheme):
            raise Unresolvable(
                field, f'"{text}" is not supported by this version, which boots container disks only ({kind})'
            )
    reference = text.removeprefix(CONTAINER_DISK_SCHEME)
    fault = reference_fault(reference)
    if fault:
        raise Unresolvable(field, f'couldn\'t parse image name "{text}": {fault}')
    return BootImage(ImageKind.CONTAINER_DISK, reference)


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
