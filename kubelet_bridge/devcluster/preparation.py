"""What has to be settled before a cluster's processes start: versions, ports, addresses, programs, certificates."""

import uuid
from collections.abc import Sequence

import msgspec

from kubelet_bridge.devcluster import binaries, hostmodes, network, ports, processes, registry
from kubelet_bridge.devcluster.controlplane import write_configuration
from kubelet_bridge.devcluster.identities import issue
from kubelet_bridge.devcluster.layout import ClusterState, Layout, load_state, save_state
from kubelet_bridge.devcluster.processes import Process
from kubelet_bridge.devcluster.programs import check_kubernetes_version
from kubelet_bridge.devcluster.progress import Progress
from kubelet_bridge.errors import Terminal

_SERVICE_CIDR = "10.96.0.0/16"


class Options(msgspec.Struct, frozen=True):
    """What `dev up` was asked for. What is None stays as it is in a cluster that exists."""

    kubernetes_version: str | None = None
    hosts: int | None = None
    host_mode: str | None = None
    bridge: bool | None = None


def settle(layout: Layout, options: Options, progress: Progress) -> ClusterState:
    """The recorded cluster with what is asked for now, or a new one. Recorded before anything is started.

    Raises:
        Terminal: the cluster runs another version than asked for.
    """
    known = load_state(layout)
    asked = check_kubernetes_version(options.kubernetes_version) if options.kubernetes_version else None
    if known is None:
        known = _new_cluster(layout, binaries.obtain(asked, progress), progress)
    elif asked not in (None, known.kubernetes_version):
        raise Terminal(
            f"the cluster in {layout.directory} runs Kubernetes {known.kubernetes_version}, not {asked}; "
            "`kubelet-bridge dev down` first, or choose another --directory"
        )
    known = msgspec.structs.replace(known, ports=ports.complete(known.ports, known.directory))
    state = _with_options(known, options)
    save_state(layout, state)
    return state


def _with_options(state: ClusterState, options: Options) -> ClusterState:
    return msgspec.structs.replace(
        state,
        hosts=state.hosts if options.hosts is None else options.hosts,
        host_mode=hostmodes.parse(options.host_mode or state.host_mode).value,
        bridge=state.bridge if options.bridge is None else options.bridge,
    )


def _new_cluster(layout: Layout, tools: binaries.Toolset, progress: Progress) -> ClusterState:
    seed = str(layout.directory)
    addresses = network.choose(seed)
    if addresses.note:
        progress.say(addresses.note)
    return ClusterState(
        id=uuid.uuid4().hex, directory=seed, ports=ports.choose(seed), node_address=addresses.node_address,
        pod_cidr=addresses.pod_cidr, service_cidr=_SERVICE_CIDR, interface=addresses.interface,
        kubernetes_version=tools.kubernetes_version, kubevirt_version=tools.kubevirt_version, bin_dir=str(layout.bin),
    )  # fmt: skip


def prepare(layout: Layout, state: ClusterState, components: list[str], progress: Progress) -> None:
    """Verify and link programs, route addresses, issue certificates, and end what a crashed `up` left running."""
    tools = binaries.obtain(state.kubernetes_version, progress)
    for name, path in tools.paths.items():
        link = layout.bin / name
        link.unlink(missing_ok=True)
        link.symlink_to(path.absolute())
    network.prepare(state.pod_cidr)
    issue(layout, state)
    write_configuration(layout)
    mode = hostmodes.parse(state.host_mode)
    hostmodes.prepare(mode, layout, progress)
    registry.prepare(layout, state, progress)
    end_strays(layout, keep=components, guests=hostmodes.guests(mode, layout))


def strays(layout: Layout, *, keep: list[str], guests: Sequence[Process] = ()) -> list[Process]:
    """The cluster's processes that are none of the components in ``keep``, nor of ``guests``, nor started by one."""
    kept = {process.pid for name in keep if (process := processes.recorded(layout, name)) is not None}
    kept |= {guest.pid for guest in guests}
    return [
        process
        for process in processes.belonging_to(layout)
        if process.pid not in kept and not kept & set(processes.ancestors(process.pid))
    ]


def end_strays(layout: Layout, *, keep: list[str], guests: Sequence[Process] = ()) -> None:
    """End the cluster's processes but for the components in ``keep``, ``guests``, and what they started."""
    for stray in strays(layout, keep=keep, guests=guests):
        processes.stop(stray, grace=1.0)
