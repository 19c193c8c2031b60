"""What is counted of one machine."""

from kubelet_bridge.model.usage import MachineFigures, Sample, Source
from kubelet_bridge.translate.usageledger import Ledger
from tests.support.usage import SECOND, at, container, sample


def count(*samples: Sample) -> list[MachineFigures]:
    ledger, found = Ledger("uid"), list[MachineFigures]()
    for one in samples:
        found.append(ledger.take(one, found[-1] if found else None))
    return found


def cpu_of(found: list[MachineFigures]) -> list[float]:
    return [(one.machine.cpu or 0) / SECOND for one in found]


def test_the_rate_is_between_two_samples() -> None:
    first, second = count(sample(0, 10), sample(20, 15))
    assert first.machine.rate is None
    assert second.machine.rate == SECOND // 4


def test_a_reboot_adds_to_what_was_used_before() -> None:
    found = count(sample(0, 10), sample(15, 2, epoch="boot-2"))
    assert cpu_of(found) == [10, 12]


def test_another_instance_begins_at_zero_and_the_machine_goes_on() -> None:
    found = count(
        sample(0, 10), sample(15, 2, instance="vmi-2", epoch="boot-2"), sample(30, 5, instance="vmi-2", epoch="boot-2")
    )
    assert cpu_of(found) == [10, 12, 15]
    assert [(one.boot.cpu, one.instance) for one in found] == [
        (10 * SECOND, "vmi-1"), (2 * SECOND, "vmi-2"), (5 * SECOND, "vmi-2"),
    ]  # fmt: skip


def test_an_agent_that_came_before_its_instance_was_known_counts_once() -> None:
    """The kernel's boot id tells more than the uid that the bridge had in mind when the agent came."""
    found = count(sample(0, 10), sample(15, 2, epoch="boot-2"), sample(30, 5, instance="vmi-2", epoch="boot-2"))
    assert cpu_of(found) == [10, 12, 15]


def test_a_reboot_inside_is_no_other_instance() -> None:
    found = count(sample(0, 10), sample(15, 2, epoch="boot-2"))
    assert found[-1].boot.cpu == 12 * SECOND


def test_another_source_counts_the_same_thing_from_somewhere_else() -> None:
    found = count(
        sample(0, 10, source=Source.KUBEVIRT, epoch="host-1"), sample(15, 400), sample(30, 403),
        sample(45, 900, source=Source.KUBEVIRT, epoch="host-1"),
    )  # fmt: skip
    assert cpu_of(found) == [10, 10, 13, 13]


def test_another_host_begins_at_zero() -> None:
    moved = sample(15, 1, source=Source.KUBEVIRT, epoch="host-2")
    assert cpu_of(count(sample(0, 10, source=Source.KUBEVIRT, epoch="host-1"), moved)) == [10, 11]


def test_a_container_begins_at_zero_with_each_run() -> None:
    first, second = count(sample(0, 10, container("app", 5)), sample(15, 12, container("app", 1, started=8)))
    assert first.containers[0].figures.cpu == 5 * SECOND
    (again,) = second.containers
    assert (again.figures.cpu, again.figures.rate, again.started_at) == (SECOND, None, at(8))


def test_a_run_is_the_same_after_its_agent_was_away() -> None:
    found = count(
        sample(10, 1, container("app", 5, started=3602), skew=3600), sample(15, 9, source=Source.KUBEVIRT),
        sample(30.25, 2, container("app", 4, started=3602), skew=3600.5),
    )  # fmt: skip
    (first,), (again,) = found[0].containers, found[2].containers
    assert (again.started_at, again.figures.cpu) == (first.started_at, 5 * SECOND)


def test_a_container_that_lost_processes_is_held() -> None:
    """Without cgroups the agent adds up living processes: one that nobody waited for is gone with its time."""
    found = count(*(sample(15 * n, 10, container("app", cpu)) for n, cpu in enumerate((5, 3, 4))))
    assert [one.containers[0].figures.cpu for one in found] == [5 * SECOND, 5 * SECOND, 6 * SECOND]


def test_a_clock_that_is_wrong_is_not_believed() -> None:
    """The start time has to be comparable with the times of our figures, and to stay the same for one run."""
    ahead = [sample(n, n, container("app", n, started=3600 - 30), skew=3600) for n in (10.0, 25.5)]
    found = count(*ahead)
    assert {one.containers[0].started_at for one in found} == {at(-30)}


def test_a_clock_that_is_nearly_right_is() -> None:
    found = count(sample(10, 1, container("app", 1, started=2), skew=1.5))
    assert found[0].containers[0].started_at == at(2)


def test_time_goes_on_although_our_clock_was_set_back() -> None:
    found = count(sample(100, 1), sample(40, 2))
    assert found[1].machine.at > found[0].machine.at


def test_what_an_interface_has_carried_outlives_a_reboot() -> None:
    found = count(sample(0, 1, received=1000), sample(15, 1, received=200, epoch="boot-2"))
    assert [one.interfaces[0].rx_bytes for one in found] == [1000, 1200]
