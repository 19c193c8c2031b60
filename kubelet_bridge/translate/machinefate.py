"""What the ends of a Pod's machines mean for the Pod: when the next may begin, when it is over, and how."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from kubelet_bridge.model.core import ContainerStatus, Pod
from kubelet_bridge.model.intent import Intent, IntentStatus
from kubelet_bridge.model.machine import Machine, Role
from kubelet_bridge.translate.machines import machines
from kubelet_bridge.translate.observe import DEADLINE_MESSAGE
from kubelet_bridge.translate.vocabulary import TERMINAL, Phase, Reason


def lets_others_begin(machine: Machine, intent: Intent | None, status: ContainerStatus | None) -> bool:
    """Whether those after this one may begin: an init container has succeeded, a sidecar has started."""
    match machine.role:
        case Role.INIT:
            return intent is not None and intent.outcome == Phase.SUCCEEDED
        case Role.SIDECAR:
            return status is not None and status.started is True
        case Role.MAIN:
            return True


def conclude(own: Intent, pod: Pod, rows: Mapping[str, Intent], now: datetime) -> Intent:
    """The Pod's own row after a look at those of its machines, by container. A final phase, once decided, stays."""
    if pod.status.phase in TERMINAL and not own.outcome:  # all that is left of the past after the database was lost
        own = msgspec.structs.replace(
            own, outcome=pod.status.phase, outcome_reason=pod.status.reason, outcome_message=pod.status.message
        )
    if not own.outcome:
        own = _outcome(own, pod, rows, now)
    return msgspec.structs.replace(own, status=_status(own, pod, rows))


def _outcome(own: Intent, pod: Pod, rows: Mapping[str, Intent], now: datetime) -> Intent:
    limit = pod.spec.active_deadline_seconds
    if limit is not None and now >= own.accepted_at + timedelta(seconds=limit):
        return msgspec.structs.replace(
            own, outcome=Phase.FAILED.value, outcome_reason=Reason.DEADLINE_EXCEEDED.value,
            outcome_message=DEADLINE_MESSAGE,
        )  # fmt: skip
    of = {machine: rows.get(machine.container) for machine in machines(pod)}
    ends = {machine: row for machine, row in of.items() if row is not None and row.outcome}
    failed = [row for machine, row in ends.items() if machine.role is not Role.SIDECAR and row.outcome == Phase.FAILED]
    init_failed = any(machine.role is Role.INIT and row.outcome == Phase.FAILED for machine, row in ends.items())
    main = [machine for machine in of if machine.role is Role.MAIN]
    if not init_failed and not all(machine in ends for machine in main):
        return own
    if not failed:
        return msgspec.structs.replace(own, outcome=Phase.SUCCEEDED.value)
    first = failed[0]
    return msgspec.structs.replace(
        own, outcome=Phase.FAILED.value, outcome_reason=first.outcome_reason, outcome_message=first.outcome_message
    )


def _status(own: Intent, pod: Pod, rows: Mapping[str, Intent]) -> IntentStatus:
    if own.outcome:
        return IntentStatus.OFF
    main = [row for one in pod.spec.containers if (row := rows.get(one.name)) is not None]
    if any(row.status is IntentStatus.RUNNING for row in main):
        return IntentStatus.RUNNING
    return own.status
