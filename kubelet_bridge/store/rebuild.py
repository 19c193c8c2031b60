"""Intents made again from the cluster when the database is lost. Pure. Only history is gone.

Every VM of ours names its Pod, and every Pod status that we wrote says what came of it: no running VM need be touched.
"""

from collections.abc import Callable, Iterable
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
    LABEL_POD_UID,
    ObjectMeta,
    PodKey,
    hashed_vm_name,
    vm_name,
)
from kubelet_bridge.translate.annotations import BOOT
from kubelet_bridge.translate.containerid import is_machine, vmi_uid_of
from kubelet_bridge.translate.guestfate import boot_of
from kubelet_bridge.translate.image import Unresolvable, is_container_disk, resolve
from kubelet_bridge.translate.resources import promised, requests_by_container

LOST_VM = "unknown"
"""``vm_uid`` of a VM that ran and is not there: its absence is confirmed and judged by the planner, as always."""

_FINAL_PHASES = frozenset({"Succeeded", "Failed"})
_NEVER = datetime.fromtimestamp(0, UTC)


def rebuild(vms: Iterable[VirtualMachine], pods: Iterable[Pod], *, new_id: Callable[[], str]) -> list[Intent]:
    """One intent per VM of ours and per Pod that this node had accepted, by namespace, name and uid.

    Args:
        vms: the VirtualMachines this node made; any others only say which names are taken.
        pods: the Pods bound to this node.
        new_id: gives an id where no annotation remembers the former one.

    A VM without a Pod gets an intent too, so that it is taken down like any other. A Pod that was not accepted yet gets
    none: accepting it is the sync loop's business.
    """
    everything = sorted(vms, key=_staying_last)
    taken = {(vm.metadata.namespace, vm.metadata.name) for vm in everything}
    ours = {uid: vm for vm in everything if (uid := vm.metadata.labels.get(LABEL_POD_UID))}
    bound = {pod.metadata.uid: pod for pod in pods}
    found = [_of_vm(vm, bound.get(uid) or _stand_in(vm, uid), new_id) for uid, vm in ours.items()]
    found += [_of_pod(pod, taken, new_id) for uid, pod in bound.items() if uid not in ours and _accepted(pod)]
    return _distinct(sorted(found, key=lambda intent: (intent.namespace, intent.name, intent.uid)), new_id)


def _distinct(intents: Iterable[Intent], new_id: Callable[[], str]) -> list[Intent]:
    """Annotations can be copied from one object to another; ids cannot be shared."""
    seen: set[str] = set()
    distinct = []
    for intent in intents:
        own = intent if intent.id not in seen else msgspec.structs.replace(intent, id=new_id())
        seen.add(own.id)
        distinct.append(own)
    return distinct


def _staying_last(vm: VirtualMachine) -> tuple[bool, datetime]:
    return vm.metadata.deletion_timestamp is None, vm.metadata.creation_timestamp or _NEVER


def _stand_in(vm: VirtualMachine, uid: str) -> Pod:
    """What the VM remembers of a Pod that is gone; a label's value may be a shortened name."""
    metadata = vm.metadata
    name = metadata.annotations.get(ANNOTATION_POD_NAME) or metadata.labels.get(LABEL_POD_NAME) or metadata.name
    return Pod(metadata=ObjectMeta(name=name, namespace=metadata.namespace, uid=uid))


def _accepted(pod: Pod) -> bool:
    return pod.status.start_time is not None or pod.status.phase in _FINAL_PHASES


def _of_vm(vm: VirtualMachine, pod: Pod, new_id: Callable[[], str]) -> Intent:
    metadata = vm.metadata
    intent = _of_status(pod, metadata.annotations.get(ANNOTATION_ID) or _former_id(pod) or new_id())
    return msgspec.structs.replace(
        intent,
        vm_name=metadata.name,
        vm_uid=metadata.uid,
        spec_hash=metadata.annotations.get(ANNOTATION_SPEC_HASH, ""),
        accepted_at=pod.status.start_time or metadata.creation_timestamp or _NEVER,
        status=IntentStatus.RUNNING if vm.status.ready and not intent.outcome else intent.status,
    )


def _of_pod(pod: Pod, taken: set[tuple[str, str]], new_id: Callable[[], str]) -> Intent:
    intent = _of_status(pod, _former_id(pod) or new_id())
    key = PodKey(intent.namespace, intent.name, intent.uid)
    name = vm_name(key)
    return msgspec.structs.replace(
        intent,
        vm_name=hashed_vm_name(key) if (key.namespace, name) in taken else name,
        vm_uid=LOST_VM if intent.vmi_uid else "",
        rejected=intent.outcome == "Failed" and not intent.vmi_uid,
    )


def _former_id(pod: Pod) -> str:
    return pod.metadata.annotations.get(ANNOTATION_ID, "")


def _of_status(pod: Pod, id_: str) -> Intent:
    """What the Pod itself tells; the ends of containers that an agent runs (``managed``) are not those of the VM."""
    status, managed = pod.status, boot_of(pod) or ""
    final = status.phase in _FINAL_PHASES
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
        accepted_at=status.start_time or pod.metadata.creation_timestamp or _NEVER,
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

    Empty where the VM may have booted the runtime image for it: another one of that is no reason to boot again.
    """
    image = pod.spec.containers[0].image if pod.spec.containers else ""
    was_machine = any(is_machine(one.container_id) for one in pod.status.container_statuses)
    if not (was_machine or pod.metadata.annotations.get(BOOT) or is_container_disk(image)):
        return ""
    try:
        return resolve(image, pod.metadata.annotations).reference
    except Unresolvable:
        return ""


def _restarts(status: ContainerStatus) -> int:
    return _number(status.restart_count)


def _number(value: int | msgspec.UnsetType) -> int:
    return value if isinstance(value, int) else 0
