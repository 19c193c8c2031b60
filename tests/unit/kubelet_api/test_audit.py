"""What is noted of a session, and what must not be."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from structlog.testing import capture_logs

from kubelet_bridge.errors import Transient
from kubelet_bridge.kubelet_api.audit import OBSERVE_SESSION, audited, shown
from kubelet_bridge.kubelet_api.gate import USER
from kubelet_bridge.model.access import User
from kubelet_bridge.telemetry.metrics import Metrics


def request(metrics: Metrics | None = None, **headers: str) -> web.Request:
    app = web.Application()
    app[OBSERVE_SESSION] = (metrics or Metrics()).observe_session
    made = make_mocked_request("POST", "/exec/ns/pod/c?command=psql&command=hunter2", headers=headers, app=app)
    made[USER] = User(name="alice", groups=("ops",))
    return made


def test_a_session_leaves_a_line_at_its_begin_and_one_at_its_end() -> None:
    with capture_logs() as lines:
        asked = request(**{"X-Forwarded-For": "192.0.2.1"})
        with audited(asked, "exec", "ns/pod/c", ["psql", "--password=hunter2"]) as transfer:
            assert [line["stage"] for line in lines] == ["begin"]
            transfer.received += 3
            transfer.sent += 70
            transfer.result = "exit code 7"
    begin, end = lines
    assert begin["event"] == end["event"] == "audit"
    assert begin["session"] == end["session"]
    expected = {
        "user": "alice", "groups": ["ops"], "what": "exec", "subject": "ns/pod/c", "command": "psql", "method": "POST",
        "forwarded_for": "192.0.2.1",
    }  # fmt: skip
    assert {name: end[name] for name in expected} == expected
    assert (end["received_bytes"], end["sent_bytes"], end["ended"]) == (3, 70, "exit code 7")
    assert end["seconds"] >= 0
    assert "hunter2" not in repr(lines)


@pytest.mark.parametrize(
    "all_in_one", ["psql --password=hunter2", " psql\t--password=hunter2", "psql\n-p hunter2", "psql=hunter2 psql"]
)
def test_arguments_are_not_noted_where_they_are_in_one_with_the_command(all_in_one: str) -> None:
    with capture_logs() as lines, audited(request(), "exec", "ns/pod/c", [all_in_one]):
        pass
    assert [line["command"] for line in lines] == ["psql", "psql"]


@pytest.mark.parametrize(
    ("failure", "ended"),
    [
        (asyncio.CancelledError(), "cancelled"),
        (Transient("password=hunter2", reason="GuestLost"), "GuestLost"),
        (RuntimeError("hunter2"), "error"),
    ],
)
def test_how_it_ended_is_noted_and_not_what_was_said(failure: BaseException, ended: str) -> None:
    with capture_logs() as lines, pytest.raises(type(failure)), audited(request(), "attach", "ns/pod/c"):
        raise failure
    assert lines[-1]["ended"] == ended
    assert "hunter2" not in repr(lines)


def test_open_sessions_and_bytes_are_measured() -> None:
    metrics = Metrics()
    with audited(request(metrics), "exec", "ns/pod/c") as transfer:
        assert metrics.registry.get_sample_value("kubelet_bridge_kubelet_api_sessions", {"what": "exec"}) == 1
        transfer.received, transfer.sent = 5, 7
    assert metrics.registry.get_sample_value("kubelet_bridge_kubelet_api_sessions", {"what": "exec"}) == 0
    found = {
        way: metrics.registry.get_sample_value(
            "kubelet_bridge_kubelet_api_session_bytes_total", {"what": "exec", "direction": way}
        )
        for way in ("received", "sent")
    }
    assert found == {"received": 5, "sent": 7}


def test_what_a_client_chose_cannot_forge_a_line() -> None:
    assert shown("a\n2026-01-01 audit\x1b[2J") == "a�2026-01-01 audit�[2J"
    assert len(shown("x" * 10_000)) == 200
