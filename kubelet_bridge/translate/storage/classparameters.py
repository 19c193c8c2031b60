"""``parameters`` of a StorageClass of ours. A name or value that we do not know is refused: it would be a typo."""

from collections.abc import Mapping

import msgspec

from kubelet_bridge.model.storage import AccessMode, VolumeMode
from kubelet_bridge.translate.storage.refusal import failed
from kubelet_bridge.translate.storage.sources import Source, parse

_ACCESS_MODES = tuple(str(one) for one in AccessMode)
_VOLUME_MODES = tuple(str(one) for one in VolumeMode)
_SWITCH = {"true": True, "false": False}


class ClassParameters(msgspec.Struct, frozen=True, kw_only=True):
    """What a class says of its disks.

    Attributes:
        backing_class: the real StorageClass; empty: the cluster's default for VMs, or its default.
        source: what disks begin with where the claim names nothing.
        access_mode: of the real claims; empty: as CDI's StorageProfile has it.
        volume_mode: of the real claims; empty: likewise.
        preallocation: whether disks are written in full when they are made.
        node: the only bridge that serves claims which wait for no consumer; empty: whichever comes first.
    """

    backing_class: str = ""
    source: Source | None = None
    access_mode: str = ""
    volume_mode: str = ""
    preallocation: bool = False
    node: str = ""


def class_parameters(given: Mapping[str, str]) -> ClassParameters:
    """Read a class's parameters.

    Raises:
        CannotProvision: one is unknown, or its value is.
    """
    known = ("backingClass", "source", "accessMode", "volumeMode", "preallocation", "node")
    if unknown := sorted(given.keys() - {*known}):
        raise failed(f"the class has parameters that are not known: {', '.join(unknown)}; there are {', '.join(known)}")
    return ClassParameters(
        backing_class=given.get("backingClass", ""),
        source=parse(given["source"], "the class's parameter source") if given.get("source") else None,
        access_mode=_one_of(given, "accessMode", _ACCESS_MODES),
        volume_mode=_one_of(given, "volumeMode", _VOLUME_MODES),
        preallocation=_SWITCH[_one_of(given, "preallocation", tuple(_SWITCH)) or "false"],
        node=given.get("node", ""),
    )


def serves_alone(given: Mapping[str, str]) -> str:
    """The node that a class names, whatever else is wrong with its parameters."""
    return given.get("node", "")


def _one_of(given: Mapping[str, str], name: str, values: tuple[str, ...]) -> str:
    value = given.get(name, "")
    if value and value not in values:
        raise failed(f"the class's parameter {name} is {value!r}: it is one of {', '.join(values)}")
    return value
