"""The loop around the syncs: what one Pod does to the others. The syncs themselves are tried as properties."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

import structlog

from kubelet_bridge.errors import ApiUnavailable, BridgeError, Invalid
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.snapshot import PodEvent, Snapshot
from kubelet_bridge.reconcile.statusmanager import StatusManager
from kubelet_bridge.reconcile.syncloop import SyncLoop, SyncResult
from tests.properties.simulation import CONFIG, Cluster, Crasher, Ports

Fault = Callable[[], Awaitable[None]]


class Faulty(Ports):
    """Ports on which looking at some Pods goes wrong."""

    def __init__(self, cluster: Cluster) -> None:
        rows: dict[str, Intent] = {}
        super().__init__(cluster, rows, Crasher())
        self.faults: dict[str, Fault] = {}
        self.loads: list[str] = []
        self.events: list[tuple[str, PodEvent]] = []

    async def load(self, key: PodKey, *, vm_name: str, promised: bool) -> Snapshot:
        self.loads.append(key.name)
        if (fault := self.faults.get(key.name)) is not None:
            await fault()
        return await super().load(key, vm_name=vm_name, promised=promised)

    def keys(self) -> Iterable[PodKey]:
        return [PodKey("n", name, pod["metadata"]["uid"]) for name, pod in self.cluster.pods.items()]

    def record(self, key: PodKey, events: Iterable[PodEvent]) -> None:
        self.events += [(key.name, event) for event in events]


class Subject:
    def __init__(self, *names: str, workers: int = 4, resync: float = 3600.0) -> None:
        self.cluster = Cluster()
        for name in names:
            self.cluster.add_pod(name, f"uid-{name}")
        self.ports = Faulty(self.cluster)
        self.results: list[SyncResult] = []
        self.loop = SyncLoop(
            self.ports, self.ports, self.ports, StatusManager(self.ports, self.ports, host_ip="192.0.2.1"), CONFIG,
            clock=self.cluster.clock, workers=workers, resync=resync,
            observe_sync=lambda result, _took, _waited: self.results.append(result),
        )  # fmt: skip

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.get_running_loop().create_task(self.loop.run())
        try:
            yield
            assert not task.done(), "the loop has ended"
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def until(self, check: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not check():
                await asyncio.sleep(0.01)

    def made(self) -> set[str]:
        return set(self.cluster.vms)


def failing(error: BaseException) -> Fault:
    async def fail() -> None:
        raise error

    return fail


async def test_no_pods_failure_touches_the_others() -> None:
    errors: dict[str, BaseException] = {
        "away": ApiUnavailable(0, "Unreachable", "no answer"),
        "refused": Invalid(422, "Invalid", "no"),
        "unfit": BridgeError("no"),
        "bug": ZeroDivisionError("ours"),
        "cancelled": asyncio.CancelledError(),
    }
    subject = Subject(*errors, "well", workers=2)
    subject.ports.faults = {name: failing(error) for name, error in errors.items()}
    with structlog.testing.capture_logs():
        async with subject.running():
            await subject.until(lambda: all(subject.ports.loads.count(name) >= 3 for name in errors))
            subject.cluster.add_pod("late", "uid-late")
            subject.loop.enqueue(PodKey("n", "late", "uid-late"))
            await subject.until(lambda: subject.made() == {"well", "late"})
            subject.ports.faults.clear()
            subject.loop.resync()
            await subject.until(lambda: subject.made() == {*errors, "well", "late"})
    assert {SyncResult.RETRY, SyncResult.ERROR, SyncResult.OK} == set(subject.results)


async def test_what_failed_is_forgotten_when_it_works_or_is_gone() -> None:
    subject = Subject("mended", "removed")
    subject.ports.faults = dict.fromkeys(["mended", "removed"], failing(BridgeError("no")))
    with structlog.testing.capture_logs():
        async with subject.running():
            await subject.until(lambda: len(subject.loop._backoff) == 2)
            subject.ports.faults.clear()
            subject.cluster.pods.pop("removed")
            await subject.until(lambda: not subject.loop._backoff)
            await subject.until(lambda: subject.made() == {"mended"})


async def test_many_pods_that_hang_leave_workers_to_the_others() -> None:
    stuck = [f"stuck{number}" for number in range(12)]
    subject = Subject(*stuck, workers=4)
    never = asyncio.Event()
    tries: dict[str, int] = dict.fromkeys(stuck, 0)

    def hanging(name: str) -> Fault:
        async def hang() -> None:
            tries[name] += 1
            if tries[name] > 1:
                await never.wait()
            raise ApiUnavailable(504, "Timeout", "webhook")

        return hang

    subject.ports.faults = {name: hanging(name) for name in stuck}
    with structlog.testing.capture_logs():
        async with subject.running():
            await subject.until(lambda: sum(count == 2 for count in tries.values()) == 2)
            await asyncio.sleep(1.0)
            assert sum(count == 2 for count in tries.values()) == 2, "half of four workers"
            subject.cluster.add_pod("well", "uid-well")
            subject.loop.enqueue(PodKey("n", "well", "uid-well"))
            await subject.until(lambda: subject.made() == {"well"})


async def test_a_thousand_quiet_pods_let_others_have_their_turn() -> None:
    subject = Subject(*(f"p{number}" for number in range(300)), workers=1)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with subject.running(), asyncio.TaskGroup() as group:
        await subject.until(lambda: len(subject.made()) == 300)
        ticking = group.create_task(others())
        turns = 0
        subject.results.clear()
        subject.loop.resync()
        await subject.until(lambda: len(subject.results) >= 300)
        ticking.cancel()
        assert turns >= 300


async def test_the_resync_looks_at_everything_but_what_has_a_time_of_its_own() -> None:
    subject = Subject("quiet", "failing", resync=0.2)
    subject.ports.faults = {"failing": failing(BridgeError("no"))}
    with structlog.testing.capture_logs():
        async with subject.running():
            await subject.until(lambda: subject.ports.loads.count("quiet") >= 20)
            assert subject.ports.loads.count("failing") < 10
            subject.ports.loads.clear()
            subject.ports.faults.clear()
            subject.loop.resync()
            await subject.until(lambda: "failing" in subject.ports.loads)


async def test_what_a_webhook_says_is_told_and_an_outage_is_not() -> None:
    subject = Subject("refused", "away")

    async def create_vm(_namespace: str, manifest: dict[str, dict[str, str]]) -> None:
        if manifest["metadata"]["name"] == "away":
            raise ApiUnavailable(0, "Unreachable", "connection refused")
        raise ApiUnavailable(500, "InternalError", 'failed calling webhook "virtualmachines-mutator.kubevirt.io"')

    subject.ports.create_vm = create_vm  # type: ignore[assignment, method-assign]
    with structlog.testing.capture_logs():
        async with subject.running():
            await subject.until(lambda: subject.results.count(SyncResult.RETRY) >= 4)
    about = {name for name, event in subject.ports.events if event.reason == "Failed"}
    assert about == {"refused"}
    waiting = {name: pod["status"]["containerStatuses"][0]["state"] for name, pod in subject.cluster.pods.items()}
    assert "virtualmachines-mutator" in waiting["refused"]["waiting"]["message"]
    assert waiting["away"]["waiting"]["message"] == "connection refused"


async def test_a_pod_waits_for_its_turn_with_a_disk_and_says_for_whom() -> None:
    subject, contended = Subject("second"), ['Multi-Attach error for volume "data": it is already used by Pod first']

    async def take_disks(_key: PodKey, _wanted: Mapping[str, bool]) -> list[str]:
        return contended

    subject.ports.take_disks = take_disks  # type: ignore[method-assign]
    async with subject.running():
        await subject.until(lambda: subject.ports.events)
        assert subject.made() == set()
        waiting = subject.cluster.pods["second"]["status"]["containerStatuses"][0]["state"]["waiting"]
        assert (waiting["reason"], waiting["message"]) == ("ContainerCreating", contended[0])
        contended = []
        subject.loop.resync()
        await subject.until(lambda: subject.made() == {"second"})
    assert {(name, event.reason) for name, event in subject.ports.events} >= {("second", "FailedAttachVolume")}
