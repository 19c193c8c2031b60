"""Rows of the tables that say what becomes of a Pod's fields: the documented field, a text, and where a Pod has it."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from kubelet_bridge.model.core import Container, Pod
from kubelet_bridge.model.intent import Hosting

Finder = Callable[[Pod], Iterable[str]]

ANY = frozenset(Hosting)
ON_AN_OS = frozenset({Hosting.MACHINE, Hosting.SYSTEM})
MACHINE = frozenset({Hosting.MACHINE})
MANAGED = ANY - MACHINE

WHERE = {
    ANY: "any Pod",
    ON_AN_OS: "OS image",
    MACHINE: "the machine itself",
    MANAGED: "containers run by the agent",
    frozenset({Hosting.OCI}): "application image",
    frozenset({Hosting.SYSTEM}): "commands on an OS image",
}
"""How documentation calls the Pods that a row is about."""


class Row(msgspec.Struct, frozen=True):
    """One row.

    Attributes:
        field: the field as documentation writes it, with ``[*]`` for any index.
        text: what becomes of it, and why.
        found: the exact paths at which a Pod has it.
        event: reason of the event that tells of it; empty when nobody has to be told.
        of: the Pods it is about, by how their containers live in the VM.
    """

    field: str
    text: str
    found: Finder
    event: str = ""
    of: frozenset[Hosting] = ANY


def note(field: str, text: str, *, of: frozenset[Hosting] = ANY) -> Row:
    """A row that is documentation only."""
    return Row(field, text, lambda _: [], of=of)


def flag(
    field: str, text: str, is_set: Callable[[Pod], object], *, event: str = "", of: frozenset[Hosting] = ANY
) -> Row:
    """A row for a field that is there once, under the path it is documented by."""
    return Row(field, text, lambda pod: [field] if is_set(pod) else [], event, of)


def per_container(
    suffix: str,
    text: str,
    found: Callable[[Container], object],
    *,
    event: str = "",
    of: frozenset[Hosting] = ANY,
) -> Row:
    """A row for a field of containers. ``found`` says whether it is set, or lists the paths below the container."""

    def paths(pod: Pod) -> Iterator[str]:
        for path, container in containers(pod):
            result = found(container)
            below = result if isinstance(result, list) else [suffix] if result else []
            yield from (f"{path}.{one}" for one in below)

    return Row(f"spec.containers[*].{suffix}", text, paths, event, of)


def per_volume(
    suffix: str,
    text: str,
    found: Callable[[dict[str, Any]], str],
    *,
    event: str = "",
    of: frozenset[Hosting] = ANY,
) -> Row:
    """A row for volumes. ``found`` gives the path below the volume, empty when it is not concerned."""

    def paths(pod: Pod) -> Iterator[str]:
        for index, volume in enumerate(pod.spec.volumes):
            if below := found(volume):
                yield f"spec.volumes[{index}].{below}"

    return Row(f"spec.volumes[*].{suffix}", text, paths, event, of)


def containers(pod: Pod) -> Iterator[tuple[str, Container]]:
    """Containers and init containers with their paths."""
    for index, container in enumerate(pod.spec.containers):
        yield f"spec.containers[{index}]", container
    for index, container in enumerate(pod.spec.init_containers):
        yield f"spec.initContainers[{index}]", container
