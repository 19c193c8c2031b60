"""How large a VM is: what the Pod's limits promise, or else its requests, or else the node's default.

CPU comes as sockets and memory as ``memory.guest``, and the VM's own ``resources`` stay unset: anything else cannot be
changed while it runs. Memory hot-plug asks for at least 1 GiB, blocks of 2 MiB and amd64
(KubeVirt, ``pkg/liveupdate/memory/memory.go``).
"""

from collections.abc import Iterator, Mapping

import msgspec

from kubelet_bridge.model.core import Container, Pod, ResourceRequirements
from kubelet_bridge.model.quantity import Quantity
from kubelet_bridge.translate.config import BridgeConfig

Amounts = Mapping[str, str | int | float]

HOTPLUG_BLOCK = 2 * 2**20
HOTPLUG_LEAST = 2**30
HOTPLUG_ARCHITECTURE = "amd64"


class VmSize(msgspec.Struct, frozen=True):
    """The size of a VM.

    Attributes:
        cpu: sockets of one core and one thread each.
        max_cpu: how many there may be later without a restart.
        memory: bytes the guest has; a multiple of 2 MiB.
        max_memory: bytes it may have later without a restart; 0 when that cannot change.
    """

    cpu: int
    max_cpu: int
    memory: int
    max_memory: int


def vm_size(pod: Pod, config: BridgeConfig) -> VmSize:
    """The size of the VM that stands for ``pod``.

    Raises:
        InvalidQuantity: a request, a limit or a default is no quantity.
    """
    cpu = max(1, promised(pod, "cpu").ceil() or config.default_cpu)
    wanted = promised(pod, "memory") or Quantity.parse(config.default_memory)
    memory = max(wanted, Quantity.parse(config.min_memory)).ceil(HOTPLUG_BLOCK) * HOTPLUG_BLOCK
    pluggable = memory >= HOTPLUG_LEAST and config.architecture == HOTPLUG_ARCHITECTURE
    return VmSize(
        cpu=cpu,
        max_cpu=max(cpu, min(cpu * config.max_hotplug_ratio, config.max_cpu)),
        memory=memory,
        max_memory=memory * config.max_hotplug_ratio if pluggable else 0,
    )


def promised(pod: Pod, resource: str) -> Quantity:
    """What the Pod may use of ``resource``: its own figure, else the sum over its containers; zero if none is named."""
    of_pod = _limit_or_request(pod.spec.resources, resource) if pod.spec.resources else None
    if of_pod:
        return of_pod
    return Quantity.total(_limit_or_request(container.resources, resource) for container in pod.spec.containers)


def _limit_or_request(resources: ResourceRequirements, resource: str) -> Quantity:
    for amounts in (resources.limits, resources.requests):
        if resource in amounts and (amount := Quantity.parse(amounts[resource])):
            return amount
    return Quantity.parse(0)


def requests_by_container(pod: Pod) -> dict[str, dict[str, str]]:
    """What each container requests, in canonical form: its ``allocatedResources``. A limit alone is a request too."""
    return {container.name: _requests(container) for container in pod.spec.containers}


def _requests(container: Container) -> dict[str, str]:
    amounts = {**container.resources.limits, **container.resources.requests}
    return {name: Quantity.parse(amount).canonical() for name, amount in sorted(amounts.items())}


def amounts_with_paths(pod: Pod) -> Iterator[tuple[str, str, str | int | float]]:
    """Every amount of the Pod as ``(field path, resource, amount)``."""
    if pod.spec.resources:
        yield from _of_requirements("spec.resources", pod.spec.resources)
    for index, container in enumerate(pod.spec.containers):
        yield from _of_requirements(f"spec.containers[{index}].resources", container.resources)


def _of_requirements(path: str, resources: ResourceRequirements) -> Iterator[tuple[str, str, str | int | float]]:
    for kind, amounts in (("limits", resources.limits), ("requests", resources.requests)):
        for resource, amount in amounts.items():
            yield f"{path}.{kind}[{resource}]", resource, amount
