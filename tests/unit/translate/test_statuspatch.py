from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from kubelet_bridge.model.core import Ip, Pod, PodStatus
from kubelet_bridge.model.meta import Condition
from kubelet_bridge.translate.statuspatch import patch

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def addresses(*ips: str) -> PodStatus:
    return PodStatus(phase="Running", pod_ip=ips[0] if ips else "", pod_ips=[Ip(ip) for ip in ips])


def ready(status: str, reason: str = "", message: str = "") -> Condition:
    return Condition("Ready", status, reason, message, last_transition_time=NOW)


def test_nothing_differs() -> None:
    status = msgspec.structs.replace(addresses("10.0.0.1"), conditions=[ready("True")])
    assert patch(Pod(status=status), status, "u") is None


def test_it_names_the_incarnation() -> None:
    made = patch(Pod(), PodStatus(phase="Running"), "u-1")
    assert made == {"metadata": {"uid": "u-1"}, "status": {"phase": "Running"}}


@pytest.mark.parametrize(
    ("has", "wanted", "first"),
    [
        (["10.0.0.1"], [], None),
        (["10.0.0.1"], ["10.0.0.2"], "10.0.0.2"),
        (["10.0.0.1", "fd00::1"], ["10.0.0.2", "fd00::1"], "10.0.0.2"),
        ([], ["10.0.0.1"], "10.0.0.1"),
    ],
)
def test_addresses_are_replaced_and_never_merged(has: list[str], wanted: list[str], first: str | None) -> None:
    made = patch(Pod(status=addresses(*has)), addresses(*wanted), "u")
    assert made is not None
    assert made["status"] == {"podIP": first, "podIPs": [{"$patch": "replace"}, *({"ip": ip} for ip in wanted)]}


def test_what_a_condition_no_longer_has_is_nulled() -> None:
    has = PodStatus(conditions=[ready("False", reason="Paused", message="by user")])
    made = patch(Pod(status=has), PodStatus(conditions=[ready("True")]), "u")
    assert made is not None
    (condition,) = made["status"]["conditions"]
    assert condition == {
        "type": "Ready", "status": "True", "reason": None, "message": None,
        "lastTransitionTime": "2026-03-01T12:00:00Z",
    }  # fmt: skip


def test_only_our_own_conditions_are_deleted() -> None:
    ours = Condition("kubelet-bridge.io/Paused", "True")
    foreign = Condition("example.com/in-load-balancer", "True")
    made = patch(Pod(status=PodStatus(conditions=[ours, foreign])), PodStatus(), "u")
    assert made is not None
    assert made["status"]["conditions"] == [{"type": "kubelet-bridge.io/Paused", "$patch": "delete"}]


def test_conditions_of_others_are_not_written() -> None:
    old = Condition("example.com/gate", "True", last_transition_time=NOW)
    new = Condition("example.com/gate", "False", last_transition_time=NOW + timedelta(seconds=1))
    assert patch(Pod(status=PodStatus(conditions=[old])), PodStatus(conditions=[new]), "u") is None


def test_a_final_phase_is_not_left() -> None:
    has = PodStatus(phase="Failed", reason="DeadlineExceeded", message="too long")
    made = patch(Pod(status=has), PodStatus(phase="Running", observed_generation=2), "u")
    assert made is not None
    assert made["status"] == {"observedGeneration": 2}


def test_a_reason_that_is_over_is_removed() -> None:
    made = patch(Pod(status=PodStatus(phase="Running", reason="Paused")), PodStatus(phase="Running"), "u")
    assert made is not None
    assert made["status"] == {"reason": None}
