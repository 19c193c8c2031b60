"""Which tolerations let a Pod sit out an absence of its node's bridge."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.translate.outage import DEFAULT_SECONDS, TAINTS, lasting

DEFAULTS: list[dict[str, Any]] = [
    {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": DEFAULT_SECONDS} for key in TAINTS
]
OURS = {"key": "virtual-kubelet.io/provider", "operator": "Exists"}


def test_what_admission_added_loses_its_end() -> None:
    assert lasting([OURS, *DEFAULTS]) == [
        OURS, *({"key": key, "operator": "Exists", "effect": "NoExecute"} for key in TAINTS),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "toleration",
    [
        {**DEFAULTS[0], "tolerationSeconds": 30},
        {**DEFAULTS[0], "tolerationSeconds": 0},
        {**DEFAULTS[0], "key": "node.kubernetes.io/disk-pressure"},
        {**DEFAULTS[0], "effect": ""},
        {"operator": "Exists"},
    ],
)
def test_what_somebody_meant_stays(toleration: dict[str, Any]) -> None:
    assert lasting([OURS, toleration]) is None


def test_a_pod_without_any() -> None:
    assert lasting([]) is None


_tolerations = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "key": st.sampled_from([*TAINTS, "other"]), "operator": st.sampled_from(["Exists", "Equal"]),
            "effect": st.sampled_from(["NoExecute", "NoSchedule"]), "tolerationSeconds": st.sampled_from([0, 300, 301]),
        },
    )
)  # fmt: skip


@given(_tolerations)
def test_only_seconds_change_and_only_once(tolerations: list[dict[str, Any]]) -> None:
    """The API server refuses every other change of a Pod's tolerations."""
    changed = lasting(tolerations)
    if changed is None:
        return
    assert lasting(changed) is None
    for before, after in zip(tolerations, changed, strict=True):
        assert {**after, "tolerationSeconds": before.get("tolerationSeconds")} in (
            before, {**before, "tolerationSeconds": None},
        )  # fmt: skip
