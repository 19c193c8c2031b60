"""What to do next for one machine of a Pod that has several, and for such a Pod itself. Pure.

A machine is planned as a Pod of its own would be (``planner``); here is what it may not do by itself: begin before its
turn, outlive the Pod, let the Pod go.
"""

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.machine import Role
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.reconcile.actions import Accept, ConfirmVm, DeleteVm, FinalizePod, Plan, Record
from kubelet_bridge.reconcile.planner import LEFTOVERS_WAIT, WAIT, plan, rejected
from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.machinesupport import machine_refusals

_LAST_GRACE = 2
"""Seconds a sidecar has when those before it have used up the Pod's grace period (KEP-753)."""


class Stage(StrEnum):
    """How a machine stands to its Pod."""

    WAITING = "waiting"
    """Those before it are not there yet, or those that go before it are still there."""

    LIVE = "live"
    ENDING = "ending"
    """The Pod is over or being deleted, and it is this machine's turn."""


def accept(
    snapshot: Snapshot, pod: Pod, config: BridgeConfig, *, new_id: str, left: bool, now: datetime
) -> Accept | None:
    """Commit the Pod's own row before anything is made for a machine of it; None for a Pod that was let go already.

    ``left`` says that there is something of a machine.
    """
    deleting = pod.metadata.deletion_timestamp is not None
    if deleting and pod.metadata.deletion_grace_period_seconds == 0 and not left:
        return None
    key = snapshot.key
    intent = Intent(
        uid=key.uid, id=new_id, namespace=key.namespace, name=key.name, accepted_at=pod.status.start_time or now,
        machines=True,
    )  # fmt: skip
    refused = [] if deleting or left else machine_refusals(pod, config)
    return Accept(rejected(intent, refused) if refused else intent)


def plan_machine(
    snapshot: Snapshot, own: Intent, config: BridgeConfig, stage: Stage, *, new_id: str, vm_absent: bool, now: datetime
) -> Plan:
    """The next step for one machine; ``own`` is the Pod's row, the rest is as for ``planner.plan``."""
    intent, pod = snapshot.intent, snapshot.pod
    if pod is not None:
        if stage is Stage.WAITING or (stage is Stage.ENDING and intent is None and is_gone(snapshot)):
            return WAIT
        deleting = pod.metadata.deletion_timestamp is not None
        if intent is not None and not deleting:
            if own.outcome and not intent.outcome:
                return Plan(step=Record(_with_the_pod(intent, own), "PodEnded"))
            if intent.outcome and snapshot.machine is not None and snapshot.machine.role is not Role.MAIN:
                return _remove(snapshot, intent, vm_absent=vm_absent)
    planned = plan(snapshot, config, new_id=new_id, vm_absent=vm_absent, now=now)
    if isinstance(planned.step, FinalizePod):
        return _let_go(intent)
    return planned


def is_gone(snapshot: Snapshot) -> bool:
    """Whether nothing is left of a machine, and nothing promised: its row says the latter once a GET has shown it."""
    intent = snapshot.intent
    left = snapshot.vm is not None or snapshot.vmi is not None or bool(snapshot.launchers)
    return not left and (intent is None or not _promised(intent))


def last_grace(pod: Pod, now: datetime) -> Pod:
    """What a sidecar sees of a Pod that is deleted: of the grace period, what the others have left of it."""
    due, grace = pod.metadata.deletion_timestamp, pod.metadata.deletion_grace_period_seconds
    if due is None or grace is None or now < due:
        return pod
    metadata = msgspec.structs.replace(pod.metadata, deletion_grace_period_seconds=min(grace, _LAST_GRACE))
    return msgspec.structs.replace(pod, metadata=metadata)


def due_in(own: Intent, pod: Pod, now: datetime) -> float | None:
    """Seconds until time alone changes something: a deadline, or the end of the grace period."""
    limit, ends = pod.spec.active_deadline_seconds, pod.metadata.deletion_timestamp
    moments = [ends] if ends is not None else []
    if limit is not None and not own.outcome:
        moments.append(own.accepted_at + timedelta(seconds=limit))
    left = [(one - now).total_seconds() for one in moments if one > now]
    return max(0.1, min(left)) if left else None


def _with_the_pod(intent: Intent, own: Intent) -> Intent:
    return msgspec.structs.replace(
        intent, outcome=own.outcome, outcome_reason=own.outcome_reason, outcome_message=own.outcome_message
    )


def _promised(intent: Intent) -> bool:
    return bool(intent.spec_hash or intent.vm_uid)


def _let_go(intent: Intent | None) -> Plan:
    """Its part of the Pod's end: the Pod itself goes when all are gone."""
    if intent is None or not _promised(intent):
        return WAIT
    return Plan(step=Record(_unpromised(intent), "MachineGone"))


def _unpromised(intent: Intent) -> Intent:
    return msgspec.structs.replace(intent, vm_uid="", spec_hash="")


def _remove(snapshot: Snapshot, intent: Intent, *, vm_absent: bool) -> Plan:
    """An init container that is done, or a sidecar of a Pod that is: its VM goes, its row tells how it ended."""
    vm = snapshot.vm
    if vm is not None:
        ending = vm.metadata.deletion_timestamp is not None
        return WAIT if ending else Plan(step=DeleteVm(vm.metadata.name, vm.metadata.uid))
    if _promised(intent) and not vm_absent:
        return Plan(step=ConfirmVm(intent.vm_name))
    if snapshot.vmi is not None or snapshot.launchers:
        return Plan(requeue_after=LEFTOVERS_WAIT)
    return _let_go(intent)
