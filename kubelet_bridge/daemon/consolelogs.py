"""The log of a machine without an agent: what KubeVirt keeps of its serial console, in a container of the launcher's.

Source: ``pkg/virt-controller/services/serialconsolelog.go`` of KubeVirt.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import msgspec

from kubelet_bridge.errors import ApiError, Transient
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.view import NodeView
from kubelet_bridge.kubelet_api.logs.options import LogOptions
from kubelet_bridge.kubelet_api.logs.refused import LogsRefused, quoted
from kubelet_bridge.kubelet_api.logs.selection import Run
from kubelet_bridge.kubelet_api.ports import ContainerRef
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.kubevirt import Launcher, VirtualMachineInstance
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.resources import PODS
from kubelet_bridge.model.snapshot import Snapshot
from kubelet_bridge.translate.containerid import vmi_uid_of

CONTAINER = "guest-console-log"
_PIECE = 64 * 1024
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10.0)
"""A console may be silent for days."""

_LAUNCHER = msgspec.json.Decoder(Launcher)
_VMI = msgspec.json.Decoder(VirtualMachineInstance)

FindLaunchers = Callable[[str], Iterable[Launcher]]
"""The cached launchers of a Pod's uid, of every boot and machine."""

FindInstance = Callable[[str, str], VirtualMachineInstance | None]
"""A cached instance of a Pod's uid by its own."""


class ConsoleLogs:
    """``open`` is ``podlogs.OpenConsole``."""

    def __init__(self, client: Client, launchers: FindLaunchers, instance: FindInstance) -> None:
        self._client, self._launchers, self._instance = client, launchers, instance

    @asynccontextmanager
    async def open(
        self, pod: Pod, ref: ContainerRef, run: Run, options: LogOptions
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The console of the boot that ``run`` is, while its launcher is there; the API server sees to the options.

        Raises:
            LogsRefused: it is not there any more, or has no such container; in words.
            Transient: the API server does not answer.
        """
        launcher = self._launcher(pod, run)
        if launcher is None:
            raise LogsRefused(400, f"unable to retrieve container logs for {run.container_id}")
        query = {**options.query(), "container": CONTAINER}
        query.pop("previous", None)  # it is told by the launcher
        path = PODS.path(ref.namespace, launcher.metadata.name, "log")
        async with AsyncExitStack() as stack:
            try:
                response = await stack.enter_async_context(
                    self._client.stream("GET", path, params=query, timeout=_TIMEOUT, label=("get", "pods/log"))
                )
            except ApiError as error:
                if isinstance(error, Transient):
                    raise
                named = f"container {quoted(ref.container)} in pod {quoted(ref.pod)}"
                raise LogsRefused(400, f"{named}: the log of its serial console: {error.message}") from error
            yield response.content.iter_chunked(_PIECE)

    def _launcher(self, pod: Pod, run: Run) -> Launcher | None:
        """The one in which that boot runs, or ran last."""
        uid = vmi_uid_of(run.container_id)
        ours = [one for one in self._launchers(pod.metadata.uid) if _is_of(one, uid)]
        ours.sort(key=lambda one: (str(one.metadata.creation_timestamp or ""), one.metadata.uid))
        key = PodKey(pod.metadata.namespace, pod.metadata.name, pod.metadata.uid)
        active = Snapshot(key=key, vmi=self._instance(pod.metadata.uid, uid), launchers=ours).active_launcher
        return active or (ours[-1] if ours else None)


def _is_of(launcher: Launcher, vmi_uid: str) -> bool:
    return any(owner.uid == vmi_uid for owner in launcher.metadata.owner_references)


def console_logs(client: Client, view: NodeView) -> ConsoleLogs:
    """With the node's caches."""

    def launchers(pod_uid: str) -> Iterable[Launcher]:
        return [_LAUNCHER.decode(one.raw) for one in view.launchers.by_index("pod-uid", pod_uid)]

    def instance(pod_uid: str, uid: str) -> VirtualMachineInstance | None:
        found = (one for one in view.vmis.by_index("pod-uid", pod_uid) if one.head.uid == uid)
        return next((_VMI.decode(one.raw) for one in found), None)

    return ConsoleLogs(client, launchers, instance)
