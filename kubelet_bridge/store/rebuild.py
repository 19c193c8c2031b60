"""Intents made again from the cluster when the database is lost. Pure. Only history is gone.

Every VM of ours names its Pod, and every Pod status that we wrote says what came of it: no running VM need be touched.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

import msgspec

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.intent import Intent, IntentStatus
from kubelet_bridge.model.kubevirt import VirtualMachine
from kubelet_bridge.model.meta import LABEL_CONTAINER, LABEL_POD_UID, PodKey, machine_key, vm_name
from kubelet_bridge.store.remembered import FINAL_PHASES, LOST_VM, NEVER, former_id, of_pod, of_vm, stand_in
from kubelet_bridge.translate.machines import is_wanted, machines, part
from kubelet_bridge.translate.vocabulary import Phase

__all__ = ["LOST_VM", "rebuild"]


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
    bound = {pod.metadata.uid: pod for pod in pods}
    ours, apart = _by_uid(everything)
    found = [of_vm(vm, bound.get(uid) or stand_in(vm, uid), new_id) for uid, vm in ours.items()]
    for uid, pod in bound.items():
        if uid in ours or uid in apart or not _accepted(pod):
            continue
        if is_wanted(pod):
            apart[uid] = {}
        else:
            found.append(of_pod(pod, taken, new_id))
    for uid, of_containers in apart.items():
        whole = bound.get(uid) or stand_in(next(iter(of_containers.values())), uid)
        found += [_of_whole(whole, new_id), *_of_machines(whole, of_containers, new_id)]
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
    return vm.metadata.deletion_timestamp is None, vm.metadata.creation_timestamp or NEVER


def _accepted(pod: Pod) -> bool:
    return pod.status.start_time is not None or pod.status.phase in FINAL_PHASES


def _by_uid(
    vms: Iterable[VirtualMachine],
) -> tuple[dict[str, VirtualMachine], dict[str, dict[str, VirtualMachine]]]:
    """By the uid of their Pods: VMs of whole Pods, and those of Pods with a VM for each container, by container."""
    whole: dict[str, VirtualMachine] = {}
    apart: dict[str, dict[str, VirtualMachine]] = {}
    for vm in vms:
        labels = vm.metadata.labels
        uid, container = labels.get(LABEL_POD_UID, ""), labels.get(LABEL_CONTAINER, "")
        if uid and container:
            apart.setdefault(uid, {})[container] = vm
        elif uid:
            whole[uid] = vm
    return whole, apart


def _of_whole(pod: Pod, new_id: Callable[[], str]) -> Intent:
    """The Pod's own row, where each container has a VM."""
    status, final = pod.status, pod.status.phase in FINAL_PHASES
    return Intent(
        uid=pod.metadata.uid, id=former_id(pod) or new_id(), namespace=pod.metadata.namespace, name=pod.metadata.name,
        status=IntentStatus.OFF if final else IntentStatus.PROVISIONING, machines=True,
        outcome=status.phase if final else "", outcome_reason=status.reason if final else "",
        outcome_message=status.message if final else "",
        rejected=status.phase == Phase.FAILED and not status.container_statuses,
        accepted_at=status.start_time or pod.metadata.creation_timestamp or NEVER,
    )  # fmt: skip


def _of_machines(pod: Pod, vms: Mapping[str, VirtualMachine], new_id: Callable[[], str]) -> Iterator[Intent]:
    """Rows of the machines that have a VM, or whose container has been started; the others have not begun."""
    whole = PodKey(pod.metadata.namespace, pod.metadata.name, pod.metadata.uid)
    parts = {one.container: found[0] for one in machines(pod) if (found := part(pod, one.container)) is not None}
    for container in sorted({*vms, *parts}):
        apart, vm, key = parts.get(container, pod), vms.get(container), machine_key(whole, container)
        if vm is not None:
            made = of_vm(vm, apart, new_id)
        elif any(one.container_id for one in apart.status.container_statuses):
            made = msgspec.structs.replace(of_pod(apart, set(), new_id), vm_name=vm_name(key))
        else:
            continue
        yield msgspec.structs.replace(
            made, uid=key.uid, name=key.name, container=container, pod_uid=key.pod_uid, rejected=False
        )
