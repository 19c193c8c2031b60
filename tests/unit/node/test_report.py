from datetime import UTC, datetime
from typing import Any

from kubelet_bridge.node import report
from kubelet_bridge.node.ports import ReadyState

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
EARLIER = "2026-01-01T00:00:00Z"
READY = ReadyState(ready=True, reason="KubeletReady", message="takes Pods")


def live_condition(kind: str, status: str) -> dict[str, str]:
    return {"type": kind, "status": status, "lastHeartbeatTime": EARLIER, "lastTransitionTime": EARLIER}


def test_ready_is_ours_to_say_and_comes_last() -> None:
    given = {"conditions": [{"type": "Ready", "status": "False"}, {"type": "DiskPressure", "status": "False"}]}
    wanted = report.with_ready(given, READY)
    assert [(one["type"], one["status"]) for one in wanted["conditions"]] == [
        ("DiskPressure", "False"),
        ("Ready", "True"),
    ]


def test_a_transition_is_stamped_only_where_the_status_is_another() -> None:
    wanted = report.with_ready({"conditions": [{"type": "DiskPressure", "status": "False"}]}, READY)
    live = {"conditions": [live_condition("DiskPressure", "False"), live_condition("Ready", "Unknown")]}
    disk, ready = report.stamped(wanted, live, NOW)["conditions"]
    assert (disk["lastTransitionTime"], disk["lastHeartbeatTime"]) == (EARLIER, "2026-01-02T03:04:05Z")
    assert (ready["lastTransitionTime"], ready["lastHeartbeatTime"]) == ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z")


def test_addresses_replace_and_resources_of_ours_that_went_are_removed() -> None:
    sent = {"capacity": {"cpu": "4", "gpu": "1"}, "allocatable": {"cpu": "4", "gpu": "1"}}
    addresses = [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "InternalIP", "address": "fd00::1"}]
    body = report.patch({"capacity": {"cpu": "8"}, "allocatable": {"cpu": "8"}, "addresses": addresses}, sent)
    assert body == {
        "capacity": {"cpu": "8", "gpu": None},
        "allocatable": {"cpu": "8", "gpu": None},
        "addresses": [*addresses, {"$patch": "replace"}],
    }


def test_what_others_add_is_not_ours_to_see() -> None:
    wanted: dict[str, Any] = {
        "capacity": {"cpu": "4"},
        "conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
        "declaredFeatures": [],
    }
    live = {
        "capacity": {"cpu": "4", "example.org/gpu": "1"},
        "conditions": [live_condition("Ready", "True"), live_condition("Custom", "False")],
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
        "phase": "",
    }
    before = report.seen(live, wanted)
    live["conditions"][1]["status"] = "True"  # type: ignore[index]
    live["conditions"][0]["lastHeartbeatTime"] = "2027-01-01T00:00:00Z"  # type: ignore[index]
    assert report.seen(live, wanted) == before
    live["conditions"][0]["status"] = "Unknown"  # type: ignore[index]
    assert report.seen(live, wanted) != before


def test_what_we_say_is_compared_without_times() -> None:
    wanted = report.with_ready({"conditions": []}, READY)
    assert report.said(report.stamped(wanted, {}, NOW)) == report.said(wanted)
    unready = report.with_ready({"conditions": []}, ReadyState(ready=False, reason="Starting", message=""))
    assert report.said(unready) != report.said(wanted)


def test_an_empty_status_can_be_looked_at() -> None:
    wanted = report.with_ready({"capacity": {"cpu": "1"}, "nodeInfo": {"architecture": "amd64"}}, READY)
    assert report.seen({}, wanted) == {
        "capacity": {"cpu": None}, "nodeInfo": {"architecture": None}, "conditions": {"Ready": None},
    }  # fmt: skip
