import asyncio

import pytest

from kubelet_bridge.errors import ApiUnavailable, BridgeError
from kubelet_bridge.node.health import Availability, watch

DOWN = ApiUnavailable(503, "ServiceUnavailable", "virt-api has no endpoints")


def verdicts(answers: str, **thresholds: int) -> list[bool | None]:
    availability = Availability(**thresholds)
    found = []
    for answer in answers:
        availability.record(None if answer == "+" else DOWN)
        found.append(availability.available)
    return found


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ("+", [True]),
        ("-", [None]),
        ("---", [None, None, False]),
        ("+--+", [True, True, True, True]),
        ("+---+", [True, True, True, False, True]),
        ("--+--", [None, None, True, True, True]),
    ],
)
def test_three_failures_in_a_row_take_away_what_one_success_gives(answers: str, expected: list[bool | None]) -> None:
    assert verdicts(answers) == expected


def test_thresholds_are_settings() -> None:
    assert verdicts("+-++", failures=1, successes=2) == [None, False, False, True]


def test_the_condition_says_why() -> None:
    availability = Availability(failures=1)
    assert availability.condition()["status"] == "Unknown"
    availability.record(DOWN)
    assert availability.condition() == {
        "type": "KubeVirtAvailable", "status": "False", "reason": "ServiceUnavailable",
        "message": "virt-api has no endpoints",
    }  # fmt: skip
    availability.record(None)
    assert availability.condition()["status"] == "True"


async def test_watching_tells_of_each_flip_and_does_not_wait_for_ever() -> None:
    answers: list[BridgeError | None] = [None, DOWN, None]
    told: list[bool | None] = []
    hung = asyncio.Event()

    async def probe() -> None:
        if not answers:
            hung.set()
            await asyncio.Event().wait()
        if (error := answers.pop(0)) is not None:
            raise error

    availability = Availability(failures=1)

    def changed() -> None:
        told.append(availability.available)
        if len(told) == 4:
            task.cancel()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch(probe, availability, changed, interval=0.005))
    assert told == [True, False, True, False]
    assert hung.is_set()
    assert availability.condition()["reason"] == "KubeVirtTimeout"
