"""Whose figures are whose: from machines to Pods, containers and volumes, and from Pods to the node.

A machine that has told nothing for ``STALE`` has no figures: they are left out, not repeated, so that whoever scales by
them knows that they are missing. What it has used before still counts in the sums that must not go down.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from kubelet_bridge.model.usage import (
    ContainerFacts,
    ContainerFigures,
    ContainerUsage,
    Figures,
    FilesystemSample,
    InterfaceSample,
    MachineFigures,
    PodFacts,
    PodUsage,
    VolumeFacts,
    VolumeUsage,
)
from kubelet_bridge.translate.usageledger import MOST, SECOND

STALE = 60 * SECOND
"""Four times the interval at which agents tell, and KubeVirt is asked."""

Machines = Mapping[str, MachineFigures]
"""By machine uid: a Pod's own, or that of one container."""


def is_fresh(figures: MachineFigures, now: int) -> bool:
    """Whether it may still be shown as what is."""
    return now - figures.machine.at <= STALE


def pod_usage(facts: PodFacts, machines: Machines, now: int) -> PodUsage:
    """What is known of one Pod."""
    parts = {uid: machines[uid] for uid in _machine_uids(facts) if uid in machines}
    fresh = {uid: one for uid, one in parts.items() if is_fresh(one, now)}
    if not fresh:
        return PodUsage(facts=facts)
    return PodUsage(
        facts=facts,
        figures=total([one.machine for one in parts.values()], [one.machine for one in fresh.values()]),
        containers=tuple(_containers(facts, fresh)),
        volumes=tuple(_volumes(facts, fresh.values())),
        interfaces=tuple(_interfaces(facts, fresh)),
    )


def total(every: Iterable[Figures], fresh: Iterable[Figures]) -> Figures:
    """The sum: CPU time of ``every``, the rest of those that are ``fresh``, of which there is at least one."""
    current = list(fresh)
    return Figures(
        at=max(one.at for one in current),
        cpu=_sum(one.cpu for one in every),
        rate=_sum(one.rate for one in current),
        memory=_sum(one.memory for one in current),
        working_set=_sum(one.working_set for one in current),
        rss=_sum(one.rss for one in current),
        processes=_sum(one.processes for one in current),
    )


def root_of(filesystems: Iterable[FilesystemSample]) -> FilesystemSample | None:
    """The guest's root file system."""
    return next((one for one in filesystems if one.mount_point == "/"), None)


def network_total(interfaces: Iterable[InterfaceSample], name: str) -> InterfaceSample:
    """All of it as one interface."""
    rx = tx = rx_errors = tx_errors = 0
    for one in interfaces:
        rx, tx = rx + one.rx_bytes, tx + one.tx_bytes
        rx_errors, tx_errors = rx_errors + one.rx_errors, tx_errors + one.tx_errors
    return InterfaceSample(name, min(rx, MOST), min(tx, MOST), min(rx_errors, MOST), min(tx_errors, MOST))


def _sum(values: Iterable[int | None]) -> int | None:
    known = [one for one in values if one is not None]
    return min(sum(known), MOST) if known else None


def _machine_uids(facts: PodFacts) -> list[str]:
    return [facts.uid, *(one.machine for one in facts.containers if one.machine)]


def _containers(facts: PodFacts, machines: Machines) -> Iterator[ContainerUsage]:
    for one in facts.containers:
        machine = machines.get(one.machine or facts.uid)
        figures = None if machine is None else _container(one, machine)
        if figures is not None:
            yield ContainerUsage(one, figures)


def _container(facts: ContainerFacts, machine: MachineFigures) -> ContainerFigures | None:
    if not facts.is_machine:
        return next((one for one in machine.containers if one.name == facts.name), None)
    if facts.started_at is None or facts.id != machine.instance:
        return None  # figures of one boot never go with the start time of another
    root = root_of(machine.filesystems)
    return ContainerFigures(
        name=facts.name, started_at=facts.started_at, figures=machine.boot, rootfs=root.used if root else None
    )


def _volumes(facts: PodFacts, machines: Iterable[MachineFigures]) -> Iterator[VolumeUsage]:
    """An agent mounts a disk at ``…/volumes/NAME`` (``agent/volumes/prepare.py``), and then where containers see it."""
    mounted = [(one.machine.at, filesystem) for one in machines for filesystem in one.filesystems]
    for volume in facts.volumes:
        found = next(((at, one) for at, one in mounted if _is_of(volume, one.mount_point)), None)
        if found is not None:
            yield VolumeUsage(volume, *found)


def _is_of(volume: VolumeFacts, mount_point: str) -> bool:
    return mount_point in volume.paths or mount_point.endswith(f"/volumes/{volume.name}")


def _interfaces(facts: PodFacts, machines: Machines) -> Iterator[InterfaceSample]:
    """Those of several machines are told apart by the container in front."""
    if (own := machines.get(facts.uid)) is not None:
        yield from own.interfaces
    for container in facts.containers:
        if container.machine and (machine := machines.get(container.machine)) is not None:
            for one in machine.interfaces:
                yield msgspec.structs.replace(one, name=f"{container.name}/{one.name}")
