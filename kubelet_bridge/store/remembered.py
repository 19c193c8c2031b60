"""What one VM, or the status of one Pod, remembers of an intent. Pure."""

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from kubelet_bridge.model.core import ContainerState, ContainerStatus, Pod
from kubelet_bridge.model.intent import Allocation, Intent, IntentStatus, Termination
from kubelet_bridge.model.kubevirt import VirtualMachine
from kubelet_bridge.model.meta import (
    ANNOTATION_ID,
    ANNOTATION_POD_NAME,
    ANNOTATION_SPEC_HASH,
    LABEL_POD_NAME,
    ObjectMeta,
    PodKey,
    hashed_vm_name,
    vm_name,
)
from kubelet_bridge.translate.annotations import BOOT
from kubelet_bridge.translate.containerid import is_machine, vmi_uid_of
from kubelet_bridge.translate.guestfate import boot_of
from kubelet_bridge.translate.image import Unresolvable, is_os_image, resolve
from kubelet_bridge.translate.resources import promised, requests_by_container

LOST_VM = "unknown"
"""``vm_uid`` of a VM that ran and is not there: its absence is confirmed and judged by the planner, as always."""

FINAL_PHASES = frozenset({"Succeeded", "Failed"})
NEVER = datetime.fromtimestamp(0, UTC)


def stand_in(vm: VirtualMachine, uid: str) -> Pod:
    """What the VM remembers of a Pod that is gone; a label's value may be a shortened name."""
    metadata = vm.metadata
    name = metadata.annotations.get(ANNOTATION_POD_NAME) or metadata.labels.get(LABEL_POD_NAME) or metadata.name
    return Pod(metadata=ObjectMeta(name=name, namespace=metadata.namespace, uid=uid))


def of_vm(vm: VirtualMachine, pod: Pod, new_id: Callable[[], str]) -> Intent:
    """Of a VM that is there, and its Pod or what stands in for that."""
    metadata = vm.metadata
    intent = _of_status(pod, metadata.annotations.get(ANNOTATION_ID) or former_id(pod) or new_id())
    return msgspec.structs.replace(
        intent,
        vm_name=metadata.name,
        vm_uid=metadata.uid,
        spec_hash=metadata.annotations.get(ANNOTATION_SPEC_HASH, ""),
        accepted_at=pod.status.start_time or metadata.creation_timestamp or NEVER,
        status=IntentStatus.RUNNING if vm.status.ready and not intent.outcome else intent.status,
    )


def of_pod(pod: Pod, taken: set[tuple[str, str]], new_id: Callable[[], str]) -> Intent:
    """Of an accepted Pod without a VM; ``taken`` are the namespaces and names of VMs."""
    intent = _of_status(pod, former_id(pod) or new_id())
    key = PodKey(intent.namespace, intent.name, intent.uid)
    name = vm_name(key)
    return msgspec.structs.replace(
        intent,
        vm_name=hashed_vm_name(key) if (key.namespace, name) in taken else name,
        vm_uid=LOST_VM if intent.vmi_uid else "",
        rejected=intent.outcome == "Failed" and not intent.vmi_uid,
    )


def former_id(pod: Pod) -> str:
    """The id that the Pod remembers; empty when it does not."""
    return pod.metadata.annotations.get(ANNOTATION_ID, "")


def _of_status(pod: Pod, id_: str) -> Intent:
    """What the Pod itself tells; the ends of containers that an agent runs (``managed``) are not those of the VM."""
    status, managed = pod.status, boot_of(pod) or ""
    final = status.phase in FINAL_PHASES
    first = status.container_statuses[0] if status.container_statuses else ContainerStatus(name="")
    state = first.state or ContainerState()
    if final:
        stands = IntentStatus.OFF
    else:
        stands = IntentStatus.RUNNING if state.running is not None else IntentStatus.PROVISIONING
    return Intent(
        uid=pod.metadata.uid,
        id=id_,
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        status=stands,
        boot_image=_boot_image(pod),
        allocation=_allocation(pod),
        vmi_uid=managed or vmi_uid_of(first.container_id),
        vmi_started=bool(managed) or state.running is not None or state.terminated is not None,
        restart_count=0 if managed else max(map(_restarts, status.container_statuses), default=0),
        last_termination=None if managed else _termination(first.last_state),
        termination=None if managed else _termination(first.state),
        outcome=status.phase if final else "",
        outcome_reason=status.reason if final else "",
        outcome_message=status.message if final else "",
        accepted_at=status.start_time or pod.metadata.creation_timestamp or NEVER,
    )


def _termination(state: ContainerState | None) -> Termination | None:
    ended = state.terminated if state is not None else None
    if ended is None:
        return None
    return Termination(
        vmi_uid=vmi_uid_of(ended.container_id), exit_code=_number(ended.exit_code), reason=ended.reason,
        message=ended.message, started_at=ended.started_at, finished_at=ended.finished_at,
    )  # fmt: skip


def _allocation(pod: Pod) -> Allocation:
    """What was allocated, as far as the status and the spec tell; ports and disk are filled in at the next look."""
    requests = requests_by_container(pod)
    for one in pod.status.container_statuses:
        if one.allocated_resources:
            requests[one.name] = {name: str(amount) for name, amount in one.allocated_resources.items()}
    return Allocation(cpu=max(1, promised(pod, "cpu").ceil()), memory=promised(pod, "memory").ceil(), requests=requests)


def _boot_image(pod: Pod) -> str:
    """From the present spec: if that has changed meanwhile, the VM keeps what it runs until its next boot.

    Empty where the VM may have booted the runtime image for it: another one of that is no reason to boot again. Empty
    also of what may be a loosely spelled name in the image catalogue.
    """
    image = pod.spec.containers[0].image if pod.spec.containers else ""
    was_machine = any(is_machine(one.container_id) for one in pod.status.container_statuses)
    if not (was_machine or pod.metadata.annotations.get(BOOT) or is_os_image(image)):
        return ""
    try:
        reference = resolve(image, pod.metadata.annotations).reference
    except Unresolvable:
        return ""
    return reference if "/" in reference else ""


def _restarts(status: ContainerStatus) -> int:
    return _number(status.restart_count)


def _number(value: int | msgspec.UnsetType) -> int:
    return value if isinstance(value, int) else 0
