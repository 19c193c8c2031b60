"""Pod conditions: the kubelet's own, by its rules (``pkg/kubelet/status/generate.go``), and ours about the VM.

Conditions of others (readiness gates, DisruptionTarget) are carried along unchanged.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from kubelet_bridge.model.core import ContainerStatus, Pod
from kubelet_bridge.model.intent import Hosting
from kubelet_bridge.model.kubevirt import VirtualMachineInstance, VmiPhase
from kubelet_bridge.model.meta import Condition
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.translate import hotplugstate, pinning
from kubelet_bridge.translate.launcher import find, holds, migrating, paused, pulling
from kubelet_bridge.translate.resources import is_sidecar
from kubelet_bridge.translate.vocabulary import TERMINAL, Phase, PodCondition, Reason


class Sight(msgspec.Struct, frozen=True):
    """What conditions need to know of the VM.

    Attributes:
        networked: whether there is a sandbox with a network.
        trouble: reason and message when the VM is paused, or out of reach.
        about: our own conditions.
    """

    networked: bool = False
    trouble: tuple[str, str] | None = None
    about: list[Condition] = []


def sight(snapshot: Snapshot, pod: Pod) -> Sight:
    """Of the VM in ``snapshot``; ``pod`` has the conditions that were there before."""
    return Sight(networked(snapshot, pod), vm_trouble(snapshot), _about_vm(snapshot, pod))


def conditions(seen: Sight, pod: Pod, phase: Phase, statuses: list[ContainerStatus], now: datetime) -> list[Condition]:
    """Every condition of the Pod; ``statuses`` are those of init and main containers.

    A rejected Pod has no container statuses, and only says that it is not ready.
    """
    foreign = [one for one in pod.status.conditions if one.type not in frozenset(PodCondition)]
    ours = seen.about if phase not in TERMINAL else []
    containers_ready = _containers_ready(pod, phase, statuses)
    made = [
        _ready(seen, pod, containers_ready, [*foreign, *ours]),
        containers_ready,
        _true(PodCondition.SCHEDULED),
        *ours,
    ]
    if statuses:
        made = [_ready_to_start(seen, phase), _initialized(pod, phase, statuses), *made]
    return [*foreign, *(_stamped(one, pod, now) for one in made)]


def _stamped(condition: Condition, pod: Pod, now: datetime) -> Condition:
    """With the generation it speaks of, and the time of its last change of status."""
    former = find(pod.status.conditions, condition.type)
    since = former.last_transition_time if former is not None and former.status == condition.status else None
    return msgspec.structs.replace(
        condition, last_transition_time=since or now, observed_generation=pod.metadata.generation or None
    )


def _true(type_: PodCondition, reason: str = "", message: str = "") -> Condition:
    return Condition(type_.value, "True", reason, message)


def _false(type_: PodCondition, reason: str = "", message: str = "") -> Condition:
    return Condition(type_.value, "False", reason, message)


def networked(snapshot: Snapshot, pod: Pod) -> bool:
    """Whether there is a sandbox with a network (KEP-3085): here, a launcher with an address.

    Before the guest runs that is worth a status of its own only while a disk is pulled, which takes time.
    """
    launcher, intent = snapshot.active_launcher, snapshot.intent
    if launcher is None or intent is None or not launcher.status.pod_ip:
        return False
    told = holds(pod.status.conditions, PodCondition.READY_TO_START_CONTAINERS)
    return intent.vmi_started or told or pulling(launcher)


def _ready_to_start(seen: Sight, phase: Phase) -> Condition:
    sandbox = seen.networked and phase not in TERMINAL
    return Condition(PodCondition.READY_TO_START_CONTAINERS.value, "True" if sandbox else "False")


def _initialized(pod: Pod, phase: Phase, statuses: list[ContainerStatus]) -> Condition:
    if phase is Phase.SUCCEEDED:
        return _true(PodCondition.INITIALIZED, Reason.POD_COMPLETED.value)
    main = {one.name for one in pod.spec.containers}
    incomplete = [one.name for one in pod.spec.init_containers if not _complete(one.name, statuses, pod)]
    started = any(one.started or one.restart_count for one in statuses if one.name in main)
    if started or not incomplete:
        return _true(PodCondition.INITIALIZED)
    message = f"containers with incomplete status: {_names(incomplete)}"
    return _false(PodCondition.INITIALIZED, Reason.CONTAINERS_NOT_INITIALIZED.value, message)


def _complete(name: str, statuses: list[ContainerStatus], pod: Pod) -> bool:
    sidecars = {one.name for one in pod.spec.init_containers if is_sidecar(one)}
    return any(bool(one.started if name in sidecars else one.ready) for one in statuses if one.name == name)


def _containers_ready(pod: Pod, phase: Phase, statuses: list[ContainerStatus]) -> Condition:
    if phase is Phase.SUCCEEDED:
        return _false(PodCondition.CONTAINERS_READY, Reason.POD_COMPLETED.value)
    if phase is Phase.FAILED:
        return _false(PodCondition.CONTAINERS_READY, Reason.POD_FAILED.value)
    ready = {one.name for one in statuses if one.ready is True}
    needed = [one.name for one in pod.spec.init_containers if is_sidecar(one)]
    needed += [one.name for one in pod.spec.containers]
    unready = [name for name in needed if name not in ready]
    if not unready:
        return _true(PodCondition.CONTAINERS_READY)
    message = f"containers with unready status: {_names(unready)}"
    return _false(PodCondition.CONTAINERS_READY, Reason.CONTAINERS_NOT_READY.value, message)


def _ready(seen: Sight, pod: Pod, containers_ready: Condition, others: list[Condition]) -> Condition:
    if containers_ready.status != "True":
        if seen.trouble is not None and containers_ready.reason == Reason.CONTAINERS_NOT_READY:
            return _false(PodCondition.READY, *seen.trouble)  # more than a probe keeps it from being ready
        return msgspec.structs.replace(containers_ready, type=PodCondition.READY.value)
    missing = [text for gate in pod.spec.readiness_gates if (text := _gate(gate.get("conditionType", ""), others))]
    if missing:
        return _false(PodCondition.READY, Reason.READINESS_GATES_NOT_READY.value, ", ".join(missing))
    return _true(PodCondition.READY)


def _gate(type_: str, others: list[Condition]) -> str:
    condition = find(others, type_)
    if condition is None:
        return f'corresponding condition of pod readiness gate "{type_}" does not exist.'
    if condition.status != "True":
        return f'the status of pod readiness gate "{type_}" is not "True", but {condition.status}'
    return ""


def vm_trouble(snapshot: Snapshot) -> tuple[str, str] | None:
    """Reason and message when a VM that runs is paused, or out of reach with its node."""
    vmi, intent = snapshot.vmi, snapshot.intent
    if vmi is None or intent is None or not intent.vmi_started:
        return None
    if vmi.phase is VmiPhase.UNKNOWN:
        return (
            Reason.NODE_LOST.value,
            f"Node {vmi.status.node_name} which was running the virtual machine is unresponsive",
        )
    pause = paused(vmi)
    if pause is not None and vmi.phase is VmiPhase.RUNNING:
        return Reason.PAUSED.value, pause.message or "The virtual machine is paused"
    return None


def _about_vm(snapshot: Snapshot, pod: Pod) -> list[Condition]:
    vmi = snapshot.vmi
    if vmi is None or vmi.phase is not VmiPhase.RUNNING:
        return []
    pause = paused(vmi)
    found = [
        _known(
            pod, PodCondition.PAUSED, pause is not None, pause.reason if pause else "", pause.message if pause else ""
        ),
        _known(pod, PodCondition.MIGRATING, migrating(vmi), "", _migration(vmi)),
        _repeated(vmi, "LiveMigratable", PodCondition.LIVE_MIGRATABLE),
        _agent(snapshot, pod, vmi),
        hotplugstate.condition(snapshot, pod),
        _pinned(snapshot, pod, vmi),
    ]
    return [one for one in found if one is not None]


def _agent(snapshot: Snapshot, pod: Pod, vmi: VirtualMachineInstance) -> Condition | None:
    """Our agent's stream where guests have one, else QEMU's guest agent.

    The Pod's readiness does not depend on it: an agent that is away changes nothing of what runs, and the last report
    stands, as a kubelet's does during an outage.
    """
    type_, guest, intent = PodCondition.GUEST_AGENT_CONNECTED, snapshot.guest, snapshot.intent
    if guest is None:
        if intent is not None and intent.hosting is not Hosting.MACHINE:
            return _false(type_, Reason.AGENT_UNSERVED.value, "this node takes no connections of agents")
        return _known(pod, type_, holds(vmi.status.conditions, "AgentConnected"))
    version = f"agent {guest.facts.agent_version}".rstrip()
    if guest.connected:
        reason = Reason.AGENT_OUTDATED if guest.outdated else Reason.AGENT_CONNECTED
        return _true(type_, reason.value, version)
    if guest.since is None:
        return _false(type_, Reason.AGENT_UNSEEN.value, "the agent in the virtual machine has not connected yet")
    return _false(type_, Reason.AGENT_AWAY.value, f"{version} is not connected; what it last reported stands")


def _pinned(snapshot: Snapshot, pod: Pod, vmi: VirtualMachineInstance) -> Condition | None:
    local = snapshot.intent.disk_places.pinned if snapshot.intent is not None else {}
    words = pinning.words(vmi, local)
    reason = Reason.LOCAL_DISK if local else Reason.DISK_NOT_SHARED
    return _known(pod, PodCondition.PINNED_TO_NODE, bool(words), reason.value, words)


def _known(pod: Pod, type_: PodCondition, true: bool, reason: str = "", message: str = "") -> Condition | None:
    """A condition that most Pods never have: it appears when it first holds, and is ``False`` when it does no more."""
    if true:
        return _true(type_, reason, message)
    return _false(type_) if find(pod.status.conditions, type_.value) is not None else None


def _repeated(vmi: VirtualMachineInstance, source: str, type_: PodCondition) -> Condition | None:
    condition = vmi.condition(source)
    if condition is None:
        return None
    return Condition(type_.value, condition.status, condition.reason, condition.message)


def _migration(vmi: VirtualMachineInstance) -> str:
    state = vmi.status.migration_state
    return f"from node {state.source_node} to node {state.target_node}" if state is not None and migrating(vmi) else ""


def _names(names: Iterable[str]) -> str:
    return f"[{' '.join(names)}]"
