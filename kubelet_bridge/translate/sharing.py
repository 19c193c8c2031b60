"""What containers cannot share when each has a VM, and why: a table like that of ``support``, of such Pods only."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.machine import Machine
from kubelet_bridge.translate.machines import container_of, machines
from kubelet_bridge.translate.table import Row, flag
from kubelet_bridge.translate.volumes import source_of
from kubelet_bridge.translate.volumesources import projection


def _shared(pod: Pod, kind: str) -> Iterator[str]:
    users = Counter(index for machine in machines(pod) for index in machine.volumes)
    for index, volume in enumerate(pod.spec.volumes):
        if source_of(volume) == kind and users[index] > 1:
            yield f"spec.volumes[{index}].{kind}"


def _other_resources(pod: Pod) -> Iterator[str]:
    for machine in machines(pod):
        for index, variable in enumerate(container_of(pod, machine).env):
            selector = variable.value_from.resource_field_ref if variable.value_from else None
            if selector is not None and selector.container_name not in ("", machine.container):
                yield f"{machine.path}.env[{index}].valueFrom.resourceFieldRef.containerName"
        for index in machine.volumes:
            if _tells_of_others(pod.spec.volumes[index], machine):
                yield f"spec.volumes[{index}].{source_of(pod.spec.volumes[index])}"


def _tells_of_others(volume: dict[str, Any], machine: Machine) -> bool:
    kind = source_of(volume)
    if kind not in ("downwardAPI", "projected"):
        return False
    try:
        sources = projection(kind, volume[kind] or {}).sources
    except msgspec.ValidationError:
        return False  # the manifest cannot be made of it, and says so
    items = (item for source in sources if source.downward_api is not None for item in source.downward_api.items)
    of = {item.resource_field_ref.container_name for item in items if item.resource_field_ref is not None}
    return not of <= {machine.container}


SHARING: tuple[Row, ...] = (
    Row(
        "spec.volumes[*].emptyDir",
        "is mounted by several containers, and each has a virtual machine of its own: no directory is in two of them",
        lambda pod: _shared(pod, "emptyDir"),
    ),
    Row(
        "spec.volumes[*].persistentVolumeClaim",
        "is mounted by several containers, and each has a virtual machine of its own: a claim is the disk of one",
        lambda pod: _shared(pod, "persistentVolumeClaim"),
    ),
    flag(
        "spec.shareProcessNamespace",
        "each container has a virtual machine of its own: processes do not see those of another",
        lambda pod: pod.spec.share_process_namespace,
    ),
    flag(
        "spec.resources",
        "is for all containers together, and each has a virtual machine of its own: name it for each container",
        lambda pod: pod.spec.resources is not None and (pod.spec.resources.limits or pod.spec.resources.requests),
    ),
    Row(
        "spec.containers[*].env[*].valueFrom.resourceFieldRef.containerName",
        "tells of another container, which has a virtual machine of its own",
        _other_resources,
    ),
)
"""Refused in addition to ``support.RULES``."""
