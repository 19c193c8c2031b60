"""Whose figures are whose."""

import msgspec

from kubelet_bridge.model.meta import PodKey, machine_key
from kubelet_bridge.model.usage import FilesystemSample, Source
from kubelet_bridge.translate.annotations import CONTAINERS
from tests.support.usage import MIB, SECOND, Metered, at, container, pod, sample

WEB = pod("web", "app", "log")


def test_containers_of_the_pod_and_no_others() -> None:
    node = Metered(WEB)
    node.take(WEB, sample(1, 9, container("log", 2), container("app", 1), container("stranger", 3)))
    (found,) = node.node(2).pods
    assert [one.facts.name for one in found.containers] == ["app", "log"]


def test_a_silent_machine_has_no_figures_and_comes_back_with_all_it_used() -> None:
    node = Metered(WEB)
    node.take(WEB, sample(1, 9, container("app", 1)))
    assert node.node(61).pods[0].figures is not None
    silent = node.node(62)
    assert (silent.pods[0].figures, silent.pods[0].containers) == (None, ())
    assert silent.figures.cpu == 10 * SECOND
    node.take(WEB, sample(100, 11, container("app", 1)))
    assert node.node(101).pods[0].figures is not None


def test_who_need_not_be_asked_about() -> None:
    node = Metered(WEB)
    assert not node.book.is_told("uid-web", at(1))
    node.take(WEB, sample(1, 9, source=Source.KUBEVIRT))
    assert not node.book.is_told("uid-web", at(2))
    node.take(WEB, sample(3, 9))
    assert node.book.is_told("uid-web", at(63))
    assert not node.book.is_told("uid-web", at(64))
    node.restart(5)
    assert not node.book.is_told("uid-web", at(5))


def test_a_machine_is_its_container_only_in_the_boot_it_runs_in() -> None:
    """Between a boot and the status that tells of it, the start time is still that of the boot before."""
    machine = pod("vm", "os", machine="vmi-1")
    node = Metered(machine)
    node.take(machine, sample(1, 9))
    assert node.node(2).pods[0].containers[0].figures.figures.cpu == 9 * SECOND
    node.take(machine, sample(16, 2, instance="vmi-2", epoch="boot-2"))
    found = node.node(17).pods[0]
    assert found.containers == ()
    assert found.figures is not None
    assert found.figures.cpu == 11 * SECOND


def test_a_pod_of_several_machines_is_their_sum() -> None:
    several = pod("several", "app", "log", machine="vmi-1", annotations={CONTAINERS: "vm-per-container"})
    node, key = Metered(several), PodKey("shop", "several", "uid-several")
    for name, cpu in (("app", 5), ("log", 7)):
        node.book.take(machine_key(key, name), sample(1, cpu))
    (found,) = node.node(2).pods
    assert {one.facts.name: one.figures.figures.cpu for one in found.containers} == {
        "app": 5 * SECOND,
        "log": 7 * SECOND,
    }
    assert found.figures is not None
    assert (found.figures.cpu, found.figures.memory) == (12 * SECOND, 512 * MIB)
    assert [one.name for one in found.interfaces] == ["app/enp1s0", "log/enp1s0"]

    node.restart(3)
    node.book.take(machine_key(key, "app"), sample(10, 6))
    again = node.node(11).pods[0].figures
    assert again is not None
    assert again.cpu == 13 * SECOND


def test_a_volume_is_found_where_the_agent_or_a_container_has_it() -> None:
    for place in ("/var/lib/kubelet-bridge/volumes/data", "/data"):
        node = Metered(WEB)
        disk = FilesystemSample("/dev/vdb", place, 100, 40)
        node.take(WEB, sample(1, 9, filesystems=(disk,)))
        (volume,) = node.node(2).pods[0].volumes
        assert (volume.facts.claim, volume.filesystem) == ("web-data", disk)


def test_what_is_gone_still_counts_for_the_node_once() -> None:
    node, other = Metered(WEB), pod("other", "app")
    node.take(WEB, sample(1, 9))
    node.take(other, sample(1, 20))
    node.book.keep_only({"uid-other"})
    node.take(WEB, sample(16, 12))
    after = node.node(17)
    assert after.figures.cpu == (1 + 9 + 20) * SECOND
    assert after.interfaces[0].rx_bytes == 2000


def test_the_nodes_moment_never_goes_back() -> None:
    node = Metered(WEB)
    node.take(WEB, sample(30, 9))
    before = node.node(31).figures.at
    node.book.keep_only(())
    assert node.node(32).figures.at == before == at(30)


def test_facts_of_resources() -> None:
    node = Metered(WEB)
    node.take(WEB, sample(1, 9, container("app", 1)))
    facts = node.node(2).pods[0].containers[0].facts
    assert (facts.cpu_request, facts.cpu_limit, facts.memory_limit) == (250, 1000, 256 * MIB)
    assert msgspec.json.encode(facts)
