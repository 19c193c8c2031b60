"""The dev hosts' processes. What they do is in ``devhost``; here they are only started and waited for."""

import contextlib
import ipaddress
from typing import Any

import msgspec

from kubelet_bridge.devcluster.component import Component, check_alive
from kubelet_bridge.devcluster.devhost.addresses import MAX_HOSTS
from kubelet_bridge.devcluster.layout import ClusterState, Layout
from kubelet_bridge.devcluster.processes import python_command
from kubelet_bridge.devcluster.waiting import until
from kubelet_bridge.errors import NotFound
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.resources import NODES


def host_address(state: ClusterState, number: int) -> str:
    """Where dev host ``number`` listens. Several can share an address only when there is but one."""
    if state.interface is None:
        return state.node_address
    return str(ipaddress.ip_address(state.node_address) + number)


def dev_hosts(layout: Layout, state: ClusterState) -> list[Component]:
    """One process per dev host."""
    return [_dev_host(layout, state, number) for number in range(state.hosts)]


def _dev_host(layout: Layout, state: ClusterState, number: int) -> Component:
    name = f"dev-host-{number}"
    argv = python_command(
        "dev", "host", "--directory", str(layout.directory), "--node", name, "--mode", state.host_mode
    )
    return Component(name, argv, f"{host_address(state, number)}:{state.ports.kubelet}", grace=5.0)


async def wait_ready(layout: Layout, client: Client, host: Component) -> None:
    """Return when the host's Node is Ready.

    Raises:
        Terminal: its process has ended, or the Node is not Ready in time.
    """

    async def ready() -> bool:
        await check_alive(layout, host)
        return await _is_ready(client, host.name)

    await until(ready, f"node {host.name} ({layout.log(host.name)})")


async def forget_others(client: Client, state: ClusterState) -> None:
    """Delete the Nodes of hosts that the cluster had and no longer has."""
    for number in range(state.hosts, MAX_HOSTS):
        with contextlib.suppress(NotFound):
            await client.delete(NODES, None, f"dev-host-{number}")


async def _is_ready(client: Client, name: str) -> bool:
    node: dict[str, Any] = msgspec.json.decode(await client.get(NODES, None, name))
    conditions = node.get("status", {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
