"""``stats/NAME.txt`` and ``.json``: what a scripted node says to those who scrape it."""

import json
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from kubelet_bridge.kubelet_api.stats import cadvisor, probes, resource, summary
from kubelet_bridge.model.usage import FilesystemSample, NodeUsage, Source
from tests.support import golden
from tests.support.usage import MIB, Metered, container, pod, sample

FOLDER = Path(__file__).parent / "stats"
TEXTS = {"resource": resource.encode, "cadvisor": cadvisor.encode, "probes": probes.encode}


@pytest.fixture
def node() -> NodeUsage:
    """Two containers of an agent's, a machine with an agent, one that KubeVirt tells of, and one nobody tells of."""
    web, vm, bare, silent = (
        pod("web", "app", "idle"),
        pod("vm", "os", machine="vmi-1"),
        pod("bare", "os", machine="vmi-7"),
        pod("silent", "app"),
    )
    metered = Metered(web, vm, bare, silent)
    disks = (
        FilesystemSample("/dev/vda1", "/", 8192 * MIB, 1024 * MIB, 1000, 10),
        FilesystemSample("/dev/vdb", "/var/lib/kubelet-bridge/volumes/data", 512 * MIB, 12 * MIB, 100, 4),
    )
    for seconds in (1, 16):
        cpu = seconds / 4
        containers = container("app", cpu), container("idle", 0), container("gone", 1)
        metered.take(web, sample(seconds, 20 + cpu, *containers, filesystems=disks))
        metered.take(vm, sample(seconds + 1, 100 + cpu))
        metered.take(
            bare, sample(seconds, 7 + cpu, instance="vmi-7", epoch="host-1", source=Source.KUBEVIRT, filesystems=())
        )
    return metered.node(20)


@pytest.mark.parametrize("name", TEXTS)
def test_text(name: str, node: NodeUsage, update_golden: bool) -> None:
    golden.check_text(FOLDER / f"{name}.txt", TEXTS[name](node).decode(), update=update_golden)


@pytest.mark.parametrize(("name", "brief"), [("summary", False), ("summary-brief", True)])
def test_summary(name: str, brief: bool, node: NodeUsage, update_golden: bool) -> None:
    made = json.loads(summary.encode(node, only_cpu_and_memory=brief))
    golden.check_text(FOLDER / f"{name}.json", json.dumps(made, indent=1) + "\n", update=update_golden)


@pytest.mark.parametrize("name", TEXTS)
def test_a_strict_parser_reads_every_text(name: str, node: NodeUsage) -> None:
    text = TEXTS[name](node).decode()
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    assert len(samples) == sum(not line.startswith("#") for line in text.splitlines())
    assert len({(one.name, tuple(sorted(one.labels.items()))) for one in samples}) == len(samples)


@pytest.mark.parametrize("name", TEXTS)
def test_an_openmetrics_parser_has_nothing_against_its_order(name: str, node: NodeUsage) -> None:
    """OpenMetrics is stricter than the format we speak: families in one piece, no sample twice, counters that count.

    It names counters without their suffix, and has times in seconds.
    """
    lines = []
    for line in TEXTS[name](node).decode().splitlines():
        if line.startswith("#"):
            lines.append(line.replace("_total ", " ", 1))
        else:
            labelled, value, *moment = line.rsplit(" ", 2) if line.count(" ") > 1 else line.rsplit(" ", 1)
            lines.append(" ".join([labelled, value, *(f"{int(one) / 1000}" for one in moment)]))
    assert list(openmetrics("\n".join([*lines, "# EOF\n"])))
