"""virt-handler's metrics, read."""

import pytest

from kubelet_bridge.model.usage import InterfaceSample, Sample, Source, Usage
from kubelet_bridge.translate.vmimetrics import read

TEXT = b"""\
# HELP kubevirt_vmi_cpu_usage_seconds_total Total CPU time spent in all modes.
# TYPE kubevirt_vmi_cpu_usage_seconds_total counter
kubevirt_vmi_cpu_usage_seconds_total{kubernetes_vmi_label_a="b\\",name=\\"x",name="web",namespace="shop",node="n1"} 12.5
kubevirt_vmi_cpu_usage_seconds_total{name="web",namespace="other",node="n1"} 99
kubevirt_vmi_memory_resident_bytes{name="web",namespace="shop",node="n1"} 5e+08
kubevirt_vmi_memory_available_bytes{name="web",namespace="shop",node="n1"} 4.0e+08
kubevirt_vmi_memory_unused_bytes{name="web",namespace="shop",node="n1"} 1.0e+08
kubevirt_vmi_memory_usable_bytes{name="web",namespace="shop",node="n1"} 2.5e+08
kubevirt_vmi_network_receive_bytes_total{interface="default",name="web",namespace="shop",node="n1"} 1000
kubevirt_vmi_network_transmit_bytes_total{interface="default",name="web",namespace="shop",node="n1"} 2000 1772366400000
kubevirt_vmi_network_receive_packets_total{interface="default",name="web",namespace="shop",node="n1"} 7
kubevirt_vmi_vcpu_seconds_total{id="0",name="web",namespace="shop",node="n1",state="running"} 3
go_goroutines 17
kubevirt_vmi_memory_resident_bytes{name="bare",namespace="shop",node="n1"} 300
"""


def sample(text: bytes, name: str) -> Sample:
    (reading,) = read(text, {("shop", name)}).values()
    return reading.sample(at=7, instance="vmi-1", node="n1")


def test_the_guests_own_view_of_its_memory() -> None:
    found = sample(TEXT, "web")
    assert found.machine == Usage(
        cpu=12_500_000_000, memory=300_000_000, working_set=150_000_000, rss=500_000_000
    )  # fmt: skip
    assert found.interfaces == (InterfaceSample("default", 1000, 2000),)
    assert (found.at, found.source, found.instance, found.epoch) == (7, Source.KUBEVIRT, "vmi-1", "vmi-1/n1")


def test_without_a_balloon_it_is_qemus() -> None:
    assert sample(TEXT, "bare").machine == Usage(memory=300, working_set=300, rss=300)


def test_only_what_is_wanted_is_read() -> None:
    assert read(TEXT, {("shop", "x"), ("nowhere", "web")}) == {}


@pytest.mark.parametrize("value", [b"NaN", b"+Inf", b"-1", b"many", b"1 2 3"])
def test_what_is_no_figure_is_not_one(value: bytes) -> None:
    line = b'kubevirt_vmi_cpu_usage_seconds_total{name="web",namespace="shop"} ' + value
    assert all(not one.figures for one in read(line, {("shop", "web")}).values())


def test_a_figure_has_bounds() -> None:
    line = b'kubevirt_vmi_cpu_usage_seconds_total{name="web",namespace="shop"} 1e300\n'
    assert sample(line, "web").machine.cpu == 2**60
