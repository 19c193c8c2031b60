"""Finds the way into what a path of the kubelet API names."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from kubelet_bridge.daemon.inside.network import tcp
from kubelet_bridge.daemon.inside.podports import Dial, PodPorts, loopback
from kubelet_bridge.daemon.inside.workloads import GuestWorkload
from kubelet_bridge.errors import NotFound, Terminal, Transient
from kubelet_bridge.guest.session import GuestSession
from kubelet_bridge.kubelet_api.ports import ContainerRef, PodRef, Ports, Workload
from kubelet_bridge.model.core import Pod
from kubelet_bridge.translate.places import FindIntent, place, place_of_port

VNC_PORT = 5900

CachedPod = Callable[[str, str], Pod | None]
"""A Pod of this node by namespace and name."""

FindSession = Callable[[str], GuestSession | None]
"""The connected agent of a machine's uid."""


class Machines(Protocol):
    """What KubeVirt gives of a VM (namespace, name)."""

    def console(self, namespace: str, vm: str, why: str) -> Workload:
        """Its serial console as a workload, which refuses what it cannot do; ``why`` there is no agent."""

    def screen(self, namespace: str, vm: str) -> Dial:
        """Its VNC."""

    def port(self, namespace: str, vm: str, port: int) -> Dial:
        """One of its ports."""


class Finder:
    """``container`` and ``ports`` are the kubelet API's ``FindContainer`` and ``FindPod``."""

    def __init__(self, pods: CachedPod, intents: FindIntent, sessions: FindSession, machines: Machines) -> None:
        self._pods, self._intents, self._sessions, self._machines = pods, intents, sessions, machines

    def container(self, ref: ContainerRef) -> Workload:
        """The way into one container: its agent, else the serial console.

        Raises:
            NotFound: there is no such Pod.
            Terminal: it has no such container.
            Transient: it has no machine yet.
        """
        pod = self._pod(ref.namespace, ref.pod, ref.uid)
        found = place(pod, ref.container, self._intents)
        if found is None:
            raise Terminal(f'container not found ("{ref.container}")', reason="ContainerNotFound")
        if not found.vm:
            message = f'container "{ref.container}" is not running: it has no virtual machine yet'
            raise Transient(message, reason="NoVirtualMachine")
        session = self._sessions(found.uid)
        if session is None:
            return self._machines.console(ref.namespace, found.vm, "it is not connected")
        console = None if found.inside else self._machines.console(ref.namespace, found.vm, "")
        return GuestWorkload(session, found, console)

    def ports(self, ref: PodRef) -> Ports:
        """The way to a Pod's ports. Raises ``NotFound``: there is no such Pod."""
        pod = self._pod(ref.namespace, ref.pod, ref.uid)
        return PodPorts(partial(self._ways, pod))

    def _ways(self, pod: Pod, port: int) -> Iterator[Dial]:
        """As a kubelet, the agent connects to the loopback. Whoever listens on VNC's port goes before the screen."""
        found = place_of_port(pod, port, self._intents)
        namespace, session = pod.metadata.namespace, self._sessions(found.uid)
        if session is not None:
            yield partial(loopback, session, port)
        if found.address:
            yield partial(tcp, found.address, port)
        if found.vm and port == VNC_PORT:
            yield self._machines.screen(namespace, found.vm)
        if found.vm and session is None:
            yield self._machines.port(namespace, found.vm, port)

    def _pod(self, namespace: str, name: str, uid: str) -> Pod:
        pod = self._pods(namespace, name)
        if pod is None or (uid and pod.metadata.uid != uid):
            raise NotFound(404, "NotFound", "pod does not exist")
        return pod
