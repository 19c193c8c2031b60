"""Where a Pod's containers are: in which machine, and by which name there."""

from collections.abc import Callable, Iterator

import msgspec

from kubelet_bridge.model.core import Container, Pod
from kubelet_bridge.model.intent import Hosting, Intent
from kubelet_bridge.model.meta import machine_uid

FindIntent = Callable[[str], Intent | None]
"""The live row of a Pod's or a machine's uid."""


class Place(msgspec.Struct, frozen=True):
    """One container.

    Attributes:
        uid: of the machine it is in; its guest and its logs are known by that.
        inside: its name in the guest; empty when the machine itself is the container.
        spec: as the Pod has it.
        vm: name of the VirtualMachine; empty while there is none.
        address: the Pod's, where that is the machine's: with a VM for each container, it is the first one's.
    """

    uid: str
    inside: str
    spec: Container
    vm: str = ""
    address: str = ""


def every_container(pod: Pod) -> Iterator[Container]:
    """Main ones first, then init and ephemeral ones."""
    yield from pod.spec.containers
    yield from pod.spec.init_containers
    yield from pod.spec.ephemeral_containers


def place(pod: Pod, container: str, intents: FindIntent) -> Place | None:
    """Where ``container`` is, or will be; None when the Pod has none of that name."""
    spec = next((one for one in every_container(pod) if one.name == container), None)
    if spec is None:
        return None
    uid, own, address = pod.metadata.uid, intents(pod.metadata.uid), pod.status.pod_ip
    if own is not None and own.machines:
        host = _host_of(pod, spec)
        uid = machine_uid(uid, host)
        own = intents(uid)
        address = address if host == pod.spec.containers[0].name else ""
    if own is None:
        return Place(uid, container, spec)
    is_machine = own.hosting is Hosting.MACHINE and spec not in pod.spec.ephemeral_containers
    return Place(uid, "" if is_machine else container, spec, own.vm_name, address)


def place_of_port(pod: Pod, port: int, intents: FindIntent) -> Place:
    """Where a port of the Pod is: of several VMs, in that of the container which declares it, else in the first."""
    declaring = (one for one in every_container(pod) if any(declared.container_port == port for declared in one.ports))
    container = next(declaring, pod.spec.containers[0])
    found = place(pod, container.name, intents)
    if found is None:
        raise AssertionError("a Pod has its own containers")
    return found


def _host_of(pod: Pod, spec: Container) -> str:
    """Whose machine it is in: its own, or, of an ephemeral container, the one it is to look at."""
    if spec in pod.spec.ephemeral_containers:
        return spec.target_container_name or pod.spec.containers[0].name
    return spec.name
