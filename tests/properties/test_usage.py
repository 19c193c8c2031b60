"""Whatever machines do, and whenever the bridge is restarted: what must not go down does not."""

from collections.abc import Iterable

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from kubelet_bridge.kubelet_api.stats import resource
from kubelet_bridge.model.usage import NodeUsage, Source
from tests.support import metricsserver
from tests.support.usage import Metered, container, pod, sample


class Restart(msgspec.Struct, frozen=True):
    """Of the bridge."""


class Told(msgspec.Struct, frozen=True):
    """A sample: counters as the guest has them, which grow within one boot."""

    of: int
    grown: float
    reboot: bool
    replaced: bool
    by_kubevirt: bool
    container_restarted: bool


class Gone(msgspec.Struct, frozen=True):
    """A Pod is no more."""

    of: int


_TOLD = st.builds(
    Told, of=st.integers(0, 2), grown=st.floats(0, 100), reboot=st.booleans(), replaced=st.booleans(),
    by_kubevirt=st.booleans(), container_restarted=st.booleans(),
)  # fmt: skip
_STEPS = st.lists(
    st.one_of(_TOLD, _TOLD, _TOLD, st.builds(Restart), st.builds(Gone, of=st.integers(0, 2))), max_size=25
)


class Guest:
    """One VM, by its own counters."""

    def __init__(self, name: str) -> None:
        self.pod = pod(name, "app")
        self.instance = self.boot = self.run = 0
        self.cpu = self.app = self.domain = 0.0
        self.began = 0.0

    def next(self, step: Told, now: float) -> None:
        if step.replaced:
            self.instance, self.domain = self.instance + 1, 0.0
        if step.reboot or step.replaced:
            self.boot, self.cpu = self.boot + 1, 0.0
        if step.container_restarted or step.reboot or step.replaced:
            self.app, self.began = 0.0, now - 1
        self.cpu, self.app, self.domain = self.cpu + step.grown, self.app + step.grown / 2, self.domain + step.grown


@settings(max_examples=150)
@given(_STEPS)
def test_counters_never_go_down(steps: Iterable[Told | Restart | Gone]) -> None:
    guests = [Guest(f"pod-{number}") for number in range(3)]
    gone: set[int] = set()
    node = Metered(*(one.pod for one in guests))
    last, now = node.node(0), 1.0
    for step in steps:
        now += 15
        match step:
            case Restart():
                node.restart(now)
            case Gone(of):
                gone.add(of)
                node.book.keep_only({one.pod.metadata.uid for number, one in enumerate(guests) if number not in gone})
            case Told(of) if of not in gone:
                guest = guests[of]
                guest.next(step, now)
                instance = f"vmi-{guest.instance}"
                if step.by_kubevirt:
                    told = sample(
                        now, guest.domain, instance=instance, epoch=f"{instance}/host", source=Source.KUBEVIRT
                    )
                else:
                    app = container("app", guest.app, started=guest.began)
                    told = sample(now, guest.cpu, app, instance=instance, epoch=f"boot-{guest.boot}")
                node.take(guest.pod, told)
            case _:
                pass
        after = node.node(now)
        _no_less(last, after)
        _is_complete(after)
        last = after


def _no_less(before: NodeUsage, after: NodeUsage) -> None:
    assert (after.figures.cpu or 0) >= (before.figures.cpu or 0)
    assert after.interfaces[0].rx_bytes >= before.interfaces[0].rx_bytes
    for old, new in zip(before.pods, after.pods, strict=True):
        if old.figures is not None and new.figures is not None:
            assert (new.figures.cpu or 0) >= (old.figures.cpu or 0)
            assert new.figures.at >= old.figures.at
        runs = {(one.facts.name, one.figures.started_at): one.figures.figures.cpu or 0 for one in old.containers}
        for one in new.containers:
            assert (one.figures.figures.cpu or 0) >= runs.get((one.facts.name, one.figures.started_at), 0)


def _is_complete(node: NodeUsage) -> None:
    """metrics-server finds every Pod that has containers, and the node."""
    batch = metricsserver.decode(resource.encode(node))
    assert batch.node is not None
    assert len(batch.pods) == sum(bool(one.containers) for one in node.pods)
