"""Intents to store: one valid value, and every valid value."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from kubelet_bridge.model.intent import Allocation, Intent, IntentStatus, Termination

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def intent(number: int = 1, **fields: Any) -> Intent:
    """The intent of Pod ``uid-<number>``."""
    given: dict[str, Any] = {
        "uid": f"uid-{number}", "id": f"dpl_{number:08d}", "namespace": "default", "name": f"web-{number}",
        "vm_name": f"web-{number}", "accepted_at": NOW, "allocation": Allocation(cpu=2, memory=1 << 30),
    }  # fmt: skip
    return Intent(**{**given, **fields})


def later(seconds: float) -> datetime:
    """``NOW`` and some seconds."""
    return NOW + timedelta(seconds=seconds)


_text = st.text(max_size=20)
_size = st.integers(0, 2**63 - 1)
_times = st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the zone is beside it
_terminations = st.builds(
    Termination, vmi_uid=_text, exit_code=st.integers(-(2**31), 2**31), reason=_text, message=_text,
    started_at=st.none() | _times, finished_at=st.none() | _times,
)  # fmt: skip
_allocations = st.builds(
    Allocation, cpu=_size, memory=_size, disk=_size, mac=_text, ports=st.lists(st.integers(0, 65535), max_size=3),
    requests=st.dictionaries(_text, st.dictionaries(_text, _text, max_size=2), max_size=2),
)  # fmt: skip
intents = st.builds(
    Intent, uid=st.text(min_size=1, max_size=10), id=_text, namespace=_text, name=_text,
    status=st.sampled_from(IntentStatus), vm_name=_text, vm_uid=_text, spec_hash=_text, boot_image=_text,
    applied_generation=_size, replace_vmi_uid=_text, allocation=_allocations, vmi_uid=_text, vmi_started=st.booleans(),
    vmi_stopping=st.booleans(), restart_count=_size, last_termination=st.none() | _terminations,
    termination=st.none() | _terminations, outcome=_text, outcome_reason=_text, outcome_message=_text,
    accepted_at=_times, deletion_grace=st.none() | _size, rejected=st.booleans(),
)  # fmt: skip
