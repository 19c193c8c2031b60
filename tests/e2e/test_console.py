"""Without an agent: what kubectl gets of a VM is its serial console, through the real API server and KubeVirt."""

from collections.abc import AsyncIterator

import pytest

from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.model.resources import PODS
from tests.support.bridge import Bridge, World
from tests.support.devhost import LABEL, Site
from tests.support.kubectl import Kubectl
from tests.support.terminal import terminal

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

SPDY = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false"}


@pytest.fixture
async def one(site: Site, world: World, bridge: Bridge) -> AsyncIterator[str]:
    """A Pod whose VM runs and has no agent."""
    async with site.host():
        bridge.arguments += ["--guest-listen", ""]
        await bridge.start()
        await world.create(PODS, world.pod("one", nodeName=bridge.node, nodeSelector={LABEL: "true"}))
        await world.ready("one")
        yield "one"
        await world.client.delete(PODS, world.namespace, "one")
        await world.gone(PODS, "one")


@pytest.mark.parametrize("env", [{}, SPDY], ids=["websocket", "spdy"])
async def test_the_console_is_what_there_is(
    one: str, world: World, bridge: Bridge, dev_cluster: DevCluster, env: dict[str, str]
) -> None:
    kubectl = Kubectl(dev_cluster, world.namespace, env=env)
    exec_sh, attach = kubectl.argv("exec", "-it", one, "--", "sh", "-l"), kubectl.argv("attach", "-it", one)
    async with terminal(*exec_sh, env=kubectl.env) as first:
        await first.sees(r"Without the agent in the virtual machine.*serial console.*\^\] to leave")
        first.type("\r")
        await first.sees("login: ")
        first.type("root\r")
        await first.sees("assword")
        first.type("x\r")
        first.type("echo to be seen by both\r")
        await first.sees("to be seen by both\r\nto be|to be seen by both\r\n")
        async with terminal(*attach, env=kubectl.env) as second:
            await second.sees("to be seen by both")  # what was shown before he came
            second.type("echo by the second\r")
            await first.sees("by the second\r\n")
            second.type("\x1d\r")  # the Pod's container has no terminal: kubectl leaves ours to send lines
            assert await second.ends() == 0
        first.type("hostname\r")
        await first.sees(r"hostname\r\none\r\n.*[#$] ")  # keys pressed together would not be ^] by itself
        first.type("\x1d")
        assert await first.ends() == 0
    code, _, error = await kubectl.run("exec", one, "--", "ls")
    assert code != 0
    assert "exec needs the agent in the virtual machine" in error
    assert "`kubectl attach` gives the serial console" in error
