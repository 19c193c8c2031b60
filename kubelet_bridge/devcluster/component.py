"""What one process of the cluster is: its command, where it listens, and how it is asked whether it is well."""

import asyncio
import contextlib
import os
import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from kubelet_bridge.devcluster import processes
from kubelet_bridge.devcluster.layout import ClusterState, Layout
from kubelet_bridge.devcluster.ports import is_free
from kubelet_bridge.devcluster.processes import Process
from kubelet_bridge.devcluster.waiting import until
from kubelet_bridge.errors import Terminal

_PROBE_SECONDS = 5.0


class Health(msgspec.Struct, frozen=True):
    """A URL that answers 200 when the component is well; https is verified against ``authority``."""

    url: str
    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class Component(msgspec.Struct, frozen=True):
    """One process.

    Attributes:
        ports: on 127.0.0.1; free before it starts.
        grace: seconds between SIGTERM and SIGKILL.
        environment: variables for it alone, beside those that every component gets.
    """

    name: str
    argv: list[str]
    address: str
    ports: tuple[int, ...] = ()
    health: Health | None = None
    grace: float = 5.0
    environment: Mapping[str, str] = {}


async def ensure(layout: Layout, component: Component, state: ClusterState) -> bool:
    """Start the component unless it runs with these very arguments. Tells whether it was started."""
    running = await asyncio.to_thread(processes.recorded, layout, component.name)
    if running is not None:
        if running.command == processes.command_digest(component.argv):
            return False
        await stop(layout, component)
    await asyncio.to_thread(_start, layout, component, state)
    return True


def _start(layout: Layout, component: Component, state: ClusterState) -> Process:
    for port in component.ports:
        if not is_free(port):
            raise Terminal(
                f"port {port}, recorded for {component.name}, is taken by another process; end that one, or "
                "`kubelet-bridge dev down` and `up` to choose other ports"
            )
    return processes.start(
        layout, component.name, component.argv, {**_environment(layout, state), **component.environment}
    )


def _environment(layout: Layout, state: ClusterState) -> dict[str, str]:
    """Temporary files go where `down` removes them; a proxy is not asked for the cluster's own addresses."""
    own = ("localhost", ".svc", "127.0.0.0/8", state.pod_cidr, state.service_cidr, state.node_address)
    direct = ",".join([*filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy")]), *own])
    return {
        "TMPDIR": str(layout.temporary),
        "NO_PROXY": direct,
        "no_proxy": direct,
    }


async def stop(layout: Layout, component: Component) -> None:
    """Stop the component if it runs; returns when it has ended."""
    running = await asyncio.to_thread(processes.recorded, layout, component.name)
    if running is not None:
        await asyncio.to_thread(processes.stop, running, component.grace)


async def wait_healthy(layout: Layout, component: Component, *, within: float = 90.0) -> None:
    """Return when the component says it is well.

    Raises:
        Terminal: it ended, or was not well after ``within`` seconds.
    """

    async def well() -> bool:
        await check_alive(layout, component)
        return await healthy(component)

    await until(well, f"{component.name} ({layout.log(component.name)})", within=within)


async def check_alive(layout: Layout, component: Component) -> None:
    """Do nothing if the component's process runs.

    Raises:
        Terminal: it has ended; the message tells what it said last.
    """
    if await asyncio.to_thread(processes.recorded, layout, component.name) is None:
        said = await asyncio.to_thread(processes.last_words, layout, component.name)
        raise Terminal(f"{component.name} ended: {said}")


async def healthy(component: Component) -> bool:
    """Whether the component answers its health URL with 200; True when it has none."""
    return component.health is None or await asyncio.to_thread(_answers, component.health)


def _answers(health: Health) -> bool:
    """Blocking, in a thread: a handshake that never ends is given up without leaving a transport behind."""
    url = urlsplit(health.url)
    connection: HTTPConnection
    try:
        if (tls := tls_context(health)) is not None:
            connection = HTTPSConnection(url.netloc, timeout=_PROBE_SECONDS, context=tls)
        else:
            connection = HTTPConnection(url.netloc, timeout=_PROBE_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", url.path)
            return connection.getresponse().status == 200
    except (HTTPException, OSError):
        return False


def tls_context(health: Health) -> ssl.SSLContext | None:
    """What to ask ``health.url`` with; None for plain HTTP. Reads files."""
    if health.authority is None:
        return None
    context = ssl.create_default_context(cafile=health.authority)
    if health.certificate is not None:
        context.load_cert_chain(health.certificate, health.key)
    return context
