"""The virtual node as the cluster sees it."""

import pytest

from kubelet_bridge.model.resources import LEASES, PODS
from tests.support.bridge import Bridge, World, condition, eventually
from tests.support.kubectl import Kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


async def test_a_ready_node_with_everything_a_scheduler_wants(world: World, bridge: Bridge, kubectl: Kubectl) -> None:
    await bridge.start()
    await kubectl("wait", "--for=condition=Ready", f"node/{bridge.node}", "--timeout=30s")
    node = await kubectl.json("get", "node", bridge.node)
    assert node["metadata"]["labels"]["type"] == "virtual-kubelet"
    assert "kubevirt.io/schedulable" not in node["metadata"]["labels"]
    assert "volumes.kubernetes.io/controller-managed-attach-detach" not in node["metadata"].get("annotations", {})
    taint = {"key": "virtual-kubelet.io/provider", "value": "kubevirt", "effect": "NoSchedule"}
    assert taint in node["spec"]["taints"]
    kinds = {one["type"]: one["status"] for one in node["status"]["conditions"]}
    healthy = {"Ready": "True", "KubeVirtAvailable": "True", "IntentStoreHealthy": "True"}
    pressure = dict.fromkeys(("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"), "False")
    assert healthy.items() | pressure.items() <= kinds.items()
    lease = await bridge.client.get(LEASES, "kube-node-lease", bridge.node)
    assert bridge.node.encode() in lease


async def test_a_deleted_node_comes_back_and_its_vms_stay(world: World, bridge: Bridge, kubectl: Kubectl) -> None:
    await bridge.start()
    old = await kubectl.json("get", "node", bridge.node)
    await kubectl("delete", "node", bridge.node)

    async def back() -> bool:
        code, out, _ = await kubectl.run("get", "node", bridge.node, "-o", "jsonpath={.metadata.uid}")
        return code == 0 and out != old["metadata"]["uid"]

    await eventually(back, "a new Node of that name")
    await kubectl("wait", "--for=condition=Ready", f"node/{bridge.node}", "--timeout=30s")


async def test_sigterm_says_goodbye_and_touches_no_vm(world: World, bridge: Bridge, kubectl: Kubectl) -> None:

    await bridge.start()
    await world.create(PODS, world.pod("one"))
    await world.ready("one")
    vms = [vm["metadata"]["uid"] for vm in await world.vms()]
    assert await bridge.stop() == 0
    node = await kubectl.json("get", "node", bridge.node)
    assert condition(node, "Ready") == "False"
    assert [vm["metadata"]["uid"] for vm in await world.vms()] == vms
    assert await world.get(PODS, "one") is not None


async def test_the_api_server_reaches_the_kubelet_endpoint(world: World, bridge: Bridge, kubectl: Kubectl) -> None:

    await bridge.start()
    await world.create(PODS, world.pod("one"))
    await world.ready("one")
    assert await kubectl("get", "--raw", f"/api/v1/nodes/{bridge.node}/proxy/healthz") == "ok"
    pods = await kubectl("get", "--raw", f"/api/v1/nodes/{bridge.node}/proxy/pods")
    assert '"name":"one"' in pods


async def test_guests_are_served_when_their_secret_can_be_had(world: World, bridge: Bridge, kubectl: Kubectl) -> None:
    """Without a restart: the node is ready meanwhile, and says what is wrong."""
    name = f"kubelet-bridge-guest-{bridge.node}"
    await kubectl("create", "secret", "generic", "-n", "kube-system", name, "--from-literal=ca.crt=nonsense")
    await bridge.start()
    await kubectl("wait", "--for=condition=GuestAgentsServed=False", f"node/{bridge.node}", "--timeout=30s")
    assert "InvalidGuestSecret" in await kubectl("get", "node", bridge.node, "-o", "jsonpath={.status.conditions}")
    await world.create(PODS, world.pod("one"))
    await world.ready("one")
    await kubectl("delete", "secret", "-n", "kube-system", name)
    await kubectl("wait", "--for=condition=GuestAgentsServed=True", f"node/{bridge.node}", "--timeout=60s")
    await kubectl("delete", "secret", "-n", "kube-system", name)
