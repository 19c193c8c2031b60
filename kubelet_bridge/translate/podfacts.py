"""What figures are named after and compared with, read from a Pod."""

from datetime import datetime
from fractions import Fraction
from functools import lru_cache

from kubelet_bridge.model.core import Container, ContainerStatus, Pod
from kubelet_bridge.model.meta import machine_uid
from kubelet_bridge.model.quantity import InvalidQuantity, Quantity
from kubelet_bridge.model.usage import ContainerFacts, PodFacts, VolumeFacts
from kubelet_bridge.translate.machines import is_wanted

_MACHINE = "kubevirt://"
_MILLI = Fraction(1, 1000)


def pod_facts(pod: Pod) -> PodFacts:
    """The facts; containers in the order of the spec, init and ephemeral ones too."""
    statuses = {
        one.name: one
        for group in (
            pod.status.container_statuses, pod.status.init_container_statuses, pod.status.ephemeral_container_statuses
        )
        for one in group
    }  # fmt: skip
    apart = is_wanted(pod)
    every = [*pod.spec.init_containers, *pod.spec.containers, *pod.spec.ephemeral_containers]
    return PodFacts(
        namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid,
        started_at=nanoseconds(pod.status.start_time or pod.metadata.creation_timestamp) or 0,
        containers=tuple(
            _container(one, statuses.get(one.name), machine_uid(pod.metadata.uid, one.name) if apart else "")
            for one in every
        ),
        volumes=tuple(_volume(pod, one, every) for one in pod.spec.volumes),
    )  # fmt: skip


def nanoseconds(moment: datetime | None) -> int | None:
    """Since the epoch; None for None."""
    return None if moment is None else int(moment.timestamp()) * 10**9 + moment.microsecond * 1000


def _container(container: Container, status: ContainerStatus | None, machine: str) -> ContainerFacts:
    running = status.state.running if status is not None and status.state is not None else None
    identity = status.container_id if status is not None else ""
    limits, requests = container.resources.limits, container.resources.requests
    return ContainerFacts(
        name=container.name, image=container.image, id=identity.partition("://")[2],
        started_at=nanoseconds(running.started_at) if running is not None else None,
        is_machine=identity.startswith(_MACHINE), machine=machine,
        cpu_limit=_amount(limits.get("cpu"), milli=True), cpu_request=_amount(requests.get("cpu"), milli=True),
        memory_limit=_amount(limits.get("memory")), memory_request=_amount(requests.get("memory")),
    )  # fmt: skip


@lru_cache(maxsize=1024)
def _amount(text: str | int | float | None, *, milli: bool = False) -> int | None:
    if text is None:
        return None
    try:
        return Quantity.parse(text).ceil(_MILLI if milli else 1)
    except InvalidQuantity:
        return None


def _volume(pod: Pod, volume: dict[str, object], containers: list[Container]) -> VolumeFacts:
    name = str(volume.get("name", ""))
    source = volume.get("persistentVolumeClaim")
    claim = str(source.get("claimName", "")) if isinstance(source, dict) else ""
    if "ephemeral" in volume:
        claim = f"{pod.metadata.name}-{name}"
    paths = {one.mount_path for container in containers for one in container.volume_mounts if one.name == name}
    return VolumeFacts(name, claim, tuple(sorted(paths)))
