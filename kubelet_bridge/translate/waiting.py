"""Why a Pod's containers wait: what KubeVirt says of the VM, in the words ``kubectl get pods`` shows."""

from kubelet_bridge.model.core import ContainerStateWaiting, Pod
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.kubevirt import PrintableStatus, VirtualMachine
from kubelet_bridge.model.meta import Condition
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.translate.launcher import complaint, container_trouble, find
from kubelet_bridge.translate.vocabulary import Reason, RestartPolicy, RunStrategy

_LAUNCHER_TROUBLE = frozenset(
    {
        Reason.ERR_IMAGE_PULL,
        Reason.IMAGE_PULL_BACK_OFF,
        Reason.ERR_IMAGE_NEVER_PULL,
        Reason.INVALID_IMAGE_NAME,
        Reason.CREATE_CONTAINER_CONFIG_ERROR,
        Reason.CREATE_CONTAINER_ERROR,
        Reason.RUN_CONTAINER_ERROR,
    }
)
_OF_DISKS = frozenset(
    {
        Reason.PROVISIONING.value,
        PrintableStatus.WAITING_FOR_VOLUME_BINDING.value,
        PrintableStatus.DATA_VOLUME_ERROR.value,
        PrintableStatus.ERROR_PVC_NOT_FOUND.value,
    }
)
"""Reasons of a VM that waits for its disks: CDI tells more of these than KubeVirt does."""

_SYNC_ERRORS = frozenset({"FailedCreate", "FailedGuaranteeResources", "FailedBackendStorageCreate", "FailedPodPatch"})
"""Reasons of a VMI's ``Synchronized=False`` that mean that no launcher came to be (KubeVirt, ``pkg/controller``)."""


def deleting(pod: Pod | None) -> bool:
    """Whether somebody asked for the Pod to end."""
    return pod is not None and pod.metadata.deletion_timestamp is not None


def powered_off(intent: Intent, snapshot: Snapshot) -> bool:
    """Whether the VM is off because somebody switched it off, and not because its guest ended."""
    vm, vmi, pod = snapshot.vm, snapshot.vmi, snapshot.pod
    if vm is None or pod is None or intent.outcome or deleting(pod) or vm.metadata.deletion_timestamp is not None:
        return False
    if vmi is not None and not vmi.phase.final:
        return False
    if vm.spec.run_strategy == RunStrategy.HALTED or vm.spec.running is False:
        return True
    starting = any(request.action == "Start" for request in vm.status.state_change_requests)
    return intent.vmi_stopping and not starting and pod.spec.restart_policy != RestartPolicy.ALWAYS


def why_waiting(intent: Intent, snapshot: Snapshot) -> ContainerStateWaiting:
    """Reason and message for containers of a VM that does not run."""
    vm, vmi = snapshot.vm, snapshot.vmi
    if vm is None and vmi is None:
        return ContainerStateWaiting(Reason.PROVISIONING)
    if powered_off(intent, snapshot):
        return ContainerStateWaiting(Reason.POWERED_OFF, f"virtual machine {intent.vm_name} was stopped")
    trouble = container_trouble(snapshot.active_launcher, _LAUNCHER_TROUBLE)
    if trouble is not None:
        return trouble
    said = _by_printable_status(intent, snapshot, vm) or _by_conditions(snapshot)
    if snapshot.disks and (said is None or said.reason in _OF_DISKS or _fails_before_it_runs(intent, said)):
        return ContainerStateWaiting(said.reason if said else Reason.PROVISIONING, "; ".join(snapshot.disks))
    return said or _creating(snapshot.pod)


def _fails_before_it_runs(intent: Intent, said: ContainerStateWaiting) -> bool:
    """Whether KubeVirt backs off from a VM no instance of which came so far: one whose disk CDI has given up."""
    ran = intent.vmi_started or intent.termination is not None or intent.last_termination is not None
    return said.reason == Reason.CRASH_LOOP_BACK_OFF and not ran


def _by_printable_status(intent: Intent, snapshot: Snapshot, vm: VirtualMachine | None) -> ContainerStateWaiting | None:
    match vm.status.printable if vm is not None else PrintableStatus.UNSET:
        case PrintableStatus.PROVISIONING:
            return ContainerStateWaiting(Reason.PROVISIONING, _message(_conditions(snapshot), "DataVolumesReady"))
        case (
            PrintableStatus.WAITING_FOR_VOLUME_BINDING
            | PrintableStatus.ERROR_PVC_NOT_FOUND
            | PrintableStatus.DATA_VOLUME_ERROR
            | PrintableStatus.ERR_IMAGE_PULL
            | PrintableStatus.IMAGE_PULL_BACK_OFF
        ) as status:
            return ContainerStateWaiting(status.value, _message(_conditions(snapshot), "Synchronized", "Failure"))
        case PrintableStatus.CRASH_LOOP_BACK_OFF:
            return ContainerStateWaiting(Reason.CRASH_LOOP_BACK_OFF, _back_off(intent, vm))
        case _:
            return None


def _by_conditions(snapshot: Snapshot) -> ContainerStateWaiting | None:
    unscheduled = _unscheduled(snapshot)
    if unscheduled is not None:
        return ContainerStateWaiting(Reason.UNSCHEDULABLE, unscheduled.message)
    conditions = _conditions(snapshot)
    failure = find(conditions, "Failure")
    if failure is not None and failure.status == "True":
        return ContainerStateWaiting(Reason.CREATE_CONTAINER_ERROR, failure.message)
    unsynchronized = complaint(conditions, "Synchronized")
    if unsynchronized is not None and unsynchronized.reason in _SYNC_ERRORS:
        return ContainerStateWaiting(Reason.CREATE_CONTAINER_ERROR, unsynchronized.message)
    return None


def _unscheduled(snapshot: Snapshot) -> Condition | None:
    """The scheduler's word on the launcher, as the VMI repeats it or the launcher has it first."""
    launcher = snapshot.active_launcher
    sources = [snapshot.vmi.status.conditions if snapshot.vmi else [], launcher.status.conditions if launcher else []]
    for conditions in sources:
        condition = complaint(conditions, "PodScheduled")
        if condition is not None and condition.reason == Reason.UNSCHEDULABLE:
            return condition
    return None


def _creating(pod: Pod | None) -> ContainerStateWaiting:
    initializing = pod is not None and pod.spec.init_containers
    return ContainerStateWaiting(Reason.POD_INITIALIZING if initializing else Reason.CONTAINER_CREATING)


def _conditions(snapshot: Snapshot) -> list[Condition]:
    """The instance's conditions before the VM's, which repeats them a little later."""
    of_vmi = snapshot.vmi.status.conditions if snapshot.vmi is not None else []
    of_vm = snapshot.vm.status.conditions if snapshot.vm is not None else []
    return [*of_vmi, *of_vm]


def _message(conditions: list[Condition], *types: str) -> str:
    found = (find(conditions, type_) for type_ in types)
    return next((one.message for one in found if one is not None and one.message), "")


def _back_off(intent: Intent, vm: VirtualMachine | None) -> str:
    failure = vm.status.start_failure if vm is not None else None
    if failure is None or failure.retry_after_timestamp is None:
        return f"back-off restarting failed virtual machine {intent.vm_name}"
    at = failure.retry_after_timestamp.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"back-off restarting failed virtual machine {intent.vm_name} until {at}"
