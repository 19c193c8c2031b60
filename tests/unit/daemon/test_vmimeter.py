"""Whom KubeVirt is asked about."""

from typing import cast

from kubelet_bridge.daemon.vmimeter import LABEL_HOST, VmiMeter
from kubelet_bridge.errors import Transient
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.informer import Cached
from kubelet_bridge.kube.view import NodeView
from kubelet_bridge.kube.virthandlers import VirtHandlers
from kubelet_bridge.model.meta import LABEL_CONTAINER, ObjectHead, ObjectMeta, PodKey, machine_key
from kubelet_bridge.model.usage import Sample, Source

POD = PodKey("shop", "web", "uid-web")


class World:
    """A view of instances, and hosts that answer."""

    def __init__(self) -> None:
        self.told: set[str] = set()
        self.recorded: list[tuple[PodKey, Sample]] = []
        self.answers: dict[str, bytes] = {}
        self.meter = VmiMeter(
            cast("Client", None), cast("NodeView", self), told=self.told.__contains__,
            record=lambda key, sample: self.recorded.append((key, sample)), interval=1.0,
        )  # fmt: skip

    def key_of(self, head: ObjectHead) -> PodKey | None:
        return None if head.name == "stray" else POD

    async def scrape(self, node: str) -> bytes:
        if node not in self.answers:
            raise Transient("no way there", reason="VirtHandler")
        return self.answers[node]

    async def ask(self, *vmis: Cached) -> None:
        for node, targets in self.meter.targets(vmis).items():
            await self.meter._ask(cast("VirtHandlers", self), node, targets)


def vmi(name: str, node: str = "host-1", **labels: str) -> Cached:
    own = {LABEL_HOST: node} if node else {}
    return Cached(ObjectHead(ObjectMeta(name=name, namespace="shop", uid=f"vmi-{name}", labels=own | labels)), b"{}")


def line(name: str, cpu: float) -> bytes:
    return f'kubevirt_vmi_cpu_usage_seconds_total{{name="{name}",namespace="shop",node="x"}} {cpu}\n'.encode()


async def test_only_instances_on_a_host_of_which_no_agent_tells() -> None:
    world = World()
    machine = machine_key(POD, "app")
    world.told.add(POD.uid)
    apart = vmi("apart", "host-2", **{LABEL_CONTAINER: "app"})
    found = world.meter.targets([vmi("web"), vmi("new", node=""), vmi("stray"), apart])
    assert {node: [one.key for one in targets] for node, targets in found.items()} == {"host-2": [machine]}


async def test_figures_are_recorded_for_the_instance_and_its_host() -> None:
    world = World()
    world.answers["host-1"] = line("web", 2.5) + line("other", 9)
    await world.ask(vmi("web"))
    ((key, sample),) = world.recorded
    assert (key, sample.machine.cpu, sample.source) == (POD, 2_500_000_000, Source.KUBEVIRT)
    assert (sample.instance, sample.epoch) == ("vmi-web", "vmi-web/host-1")


async def test_a_host_without_an_answer_holds_nobody_up() -> None:
    world = World()
    world.answers["host-1"] = line("web", 1)
    await world.ask(vmi("gone", "host-0"), vmi("web"))
    assert len(world.recorded) == 1


async def test_an_agent_that_came_meanwhile_goes_first() -> None:
    world = World()
    world.answers["host-1"] = line("web", 1)
    targets = world.meter.targets([vmi("web")])["host-1"]
    world.told.add(POD.uid)
    await world.meter._ask(cast("VirtHandlers", world), "host-1", targets)
    assert world.recorded == []
