"""How large a VM is: what the Pod's limits promise, or else its requests, or else the node's default.

Containers add up as for the scheduler (``PodRequests`` in ``k8s.io/component-helpers/resource``): all that run at once,
or more when an init container needs more. A VM that runs applications has its own system's memory on top of that.

CPU comes as sockets and memory as ``memory.guest``, and the VM's own ``resources`` stay unset: anything else cannot be
changed while it runs. Memory hot-plug asks for at least 1 GiB, blocks of 2 MiB and amd64
(KubeVirt, ``pkg/liveupdate/memory/memory.go``).
"""

from collections.abc import Iterator, Mapping

import msgspec

from kubelet_bridge.model.core import Container, Pod, ResourceRequirements
from kubelet_bridge.model.quantity import Quantity
from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.image import runs_applications

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
    memory = max(_memory(pod, config), Quantity.parse(config.min_memory)).ceil(HOTPLUG_BLOCK) * HOTPLUG_BLOCK
    pluggable = memory >= HOTPLUG_LEAST and config.architecture == HOTPLUG_ARCHITECTURE
    return VmSize(
        cpu=cpu,
        max_cpu=max(cpu, min(cpu * config.max_hotplug_ratio, config.max_cpu)),
        memory=memory,
        max_memory=memory * config.max_hotplug_ratio if pluggable else 0,
    )


def _memory(pod: Pod, config: BridgeConfig) -> Quantity:
    """Beside containers that name an amount, those that name none get the default, once for all of them."""
    wanted = promised(pod, "memory")
    of_pod = pod.spec.resources is not None and bool(_limit_or_request(pod.spec.resources, "memory"))
    if not of_pod and not all(_limit_or_request(one.resources, "memory") for one in _beside(pod)):
        wanted = wanted + Quantity.parse(config.default_memory)
    return wanted + Quantity.parse(config.runtime_overhead) if runs_applications(pod, config) else wanted


def _beside(pod: Pod) -> list[Container]:
    """The containers that run at once."""
    return [*filter(is_sidecar, pod.spec.init_containers), *pod.spec.containers]


def is_sidecar(container: Container) -> bool:
    """Whether an init container runs beside the others (KEP-753)."""
    return container.restart_policy == "Always"


def promised(pod: Pod, resource: str) -> Quantity:
    """What the Pod may use of ``resource``: its own figure, else that of its containers; zero if none is named."""
    of_pod = _limit_or_request(pod.spec.resources, resource) if pod.spec.resources else None
    if of_pod:
        return of_pod
    sidecars, most = Quantity.parse(0), Quantity.parse(0)
    for container in pod.spec.init_containers:
        amount = _limit_or_request(container.resources, resource)
        if is_sidecar(container):
            sidecars = sidecars + amount
        most = max(most, sidecars if is_sidecar(container) else sidecars + amount)
    running = Quantity.total(_limit_or_request(container.resources, resource) for container in pod.spec.containers)
    return max(sidecars + running, most)


def _limit_or_request(resources: ResourceRequirements, resource: str) -> Quantity:
    for amounts in (resources.limits, resources.requests):
        if resource in amounts and (amount := Quantity.parse(amounts[resource])):
            return amount
    return Quantity.parse(0)


def requests_by_container(pod: Pod) -> dict[str, dict[str, str]]:
    """What each container requests, in canonical form: its ``allocatedResources``. A limit alone is a request too."""
    return {one.name: _requests(one) for one in (*pod.spec.init_containers, *pod.spec.containers)}


def _requests(container: Container) -> dict[str, str]:
    amounts = {**container.resources.limits, **container.resources.requests}
    return {name: Quantity.parse(amount).canonical() for name, amount in sorted(amounts.items())}


def amounts_with_paths(pod: Pod) -> Iterator[tuple[str, str, str | int | float]]:
    """Every amount of the Pod as ``(field path, resource, amount)``."""
    if pod.spec.resources:
        yield from _of_requirements("spec.resources", pod.spec.resources)
    for kind, group in (("containers", pod.spec.containers), ("initContainers", pod.spec.init_containers)):
        for index, container in enumerate(group):
            yield from _of_requirements(f"spec.{kind}[{index}].resources", container.resources)


def _of_requirements(path: str, resources: ResourceRequirements) -> Iterator[tuple[str, str, str | int | float]]:
    for kind, amounts in (("limits", resources.limits), ("requests", resources.requests)):
        for resource, amount in amounts.items():
            yield f"{path}.{kind}[{resource}]", resource, amount
