"""Samples of guests, and a node that counts them and is scraped."""

import msgspec

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.usage import (
    ContainerSample,
    DiskUsage,
    Figures,
    FilesystemSample,
    InterfaceSample,
    NodeUsage,
    Sample,
    Source,
    Usage,
)
from kubelet_bridge.translate.podfacts import pod_facts
from kubelet_bridge.translate.podusage import pod_usage
from kubelet_bridge.translate.usagebook import UsageBook, load, node_figures

SECOND = 10**9
MIB = 1024 * 1024
BEGIN = 1_772_366_400 * SECOND  # 2026-03-01T12:00:00Z


def at(seconds: float) -> int:
    """A moment, in seconds after ``BEGIN``."""
    return BEGIN + int(seconds * SECOND)


def usage(cpu: float, mebibytes: float = 64.0) -> Usage:
    """Seconds of CPU, and memory of which a quarter could be dropped."""
    size = int(mebibytes * MIB)
    return Usage(cpu=int(cpu * SECOND), memory=size, working_set=size * 3 // 4, rss=size // 2, processes=3)


def container(name: str, cpu: float, mebibytes: float = 32.0, *, started: float = 0.0) -> ContainerSample:
    return ContainerSample(
        name=name, started_at=at(started), usage=usage(cpu, mebibytes), rootfs=5 * MIB, logs=4096
    )  # fmt: skip


def sample(
    seconds: float, cpu: float, *containers: ContainerSample, instance: str = "vmi-1", epoch: str = "boot-1",
    source: Source = Source.AGENT, skew: float = 0.0, received: int = 1000, mebibytes: float = 256.0,
    filesystems: tuple[FilesystemSample, ...] = (FilesystemSample("/dev/vda1", "/", 8192 * MIB, 1024 * MIB, 1000, 10),),
) -> Sample:  # fmt: skip
    return Sample(
        at=at(seconds), taken_at=at(seconds + skew), source=source, instance=instance, epoch=epoch,
        machine=usage(cpu, mebibytes), containers=containers, filesystems=filesystems,
        interfaces=(InterfaceSample("enp1s0", received, received // 2, 1, 0),),
    )  # fmt: skip


def pod(name: str, *containers: str, machine: str = "", started: float = 0.0, **metadata: object) -> Pod:
    """A running Pod whose containers an agent runs; with ``machine``, the one container is that VMI."""
    moment = "2026-03-01T12:00:00Z"
    statuses = [
        {
            "name": one, "ready": True, "restartCount": 0, "image": f"registry.test/{one}:1", "imageID": "",
            "containerID": f"kubevirt://{machine}" if machine else f"kubelet-bridge://vmi-1/{one}-0",
            "state": {"running": {"startedAt": moment}},
        }
        for one in containers
    ]  # fmt: skip
    resources = {"requests": {"cpu": "250m"}, "limits": {"cpu": "1", "memory": "256Mi"}}
    document = {
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", **metadata},
        "spec": {
            "containers": [
                {
                    "name": one, "image": f"registry.test/{one}:1", "resources": resources,
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }
                for one in containers
            ],
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": f"{name}-data"}},
                {"name": "tmp", "emptyDir": {}},
            ],
        },
        "status": {"startTime": moment, "containerStatuses": statuses},
    }  # fmt: skip
    return msgspec.convert(document, Pod)


def key_of(one: Pod) -> PodKey:
    return PodKey(one.metadata.namespace, one.metadata.name, one.metadata.uid)


class Metered:
    """A node: samples in, ``NodeUsage`` out."""

    def __init__(self, *pods: Pod) -> None:
        self.pods = list(pods)
        self.book = UsageBook(None, BEGIN)
        self.book.take_own(BEGIN, usage(1.0, 100.0))

    def take(self, of: Pod, *samples: Sample) -> None:
        for one in samples:
            self.book.take(key_of(of), one)

    def restart(self, seconds: float) -> None:
        """The bridge ends, and another comes."""
        kept = load(self.book.dump())
        assert kept is not None
        self.book = UsageBook(kept, at(seconds))

    def node(self, seconds: float) -> NodeUsage:
        now, machines, totals = at(seconds), self.book.machines(), self.book.totals()
        return NodeUsage(
            name="kubelet-bridge", figures=node_figures(totals, machines.values(), now),
            bridge=totals.bridge or Figures(at=now), started_at=totals.started_at,
            process_started_at=totals.process_started_at,
            pods=tuple(pod_usage(pod_facts(one), machines, now) for one in self.pods), interfaces=(totals.network,),
            disk=DiskUsage(now, 100 * MIB, 40 * MIB, 1000, 900), cores=8, memory=16384 * MIB,
        )  # fmt: skip
