"""The database made again from the cluster, while no daemon runs."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from kubelet_bridge.errors import ApiUnavailable
from kubelet_bridge.kube import credentials
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.kubevirt import VirtualMachine
from kubelet_bridge.model.meta import LABEL_MANAGED_BY, LABEL_NODE, MANAGED_BY, label_value
from kubelet_bridge.model.resources import PODS, VIRTUALMACHINES
from kubelet_bridge.store.intents import IntentStore
from kubelet_bridge.store.lock import StateLock
from kubelet_bridge.store.rebuild import rebuild
from kubelet_bridge.store.standalone import standalone

T = TypeVar("T")


class _Pods(msgspec.Struct):
    items: list[Pod]


class _VirtualMachines(msgspec.Struct):
    items: list[VirtualMachine]


class Recovered(msgspec.Struct, frozen=True):
    """What came of it; ``set_aside`` is the former database's new path, None when there was none."""

    intents: int
    virtual_machines: int
    pods: int
    set_aside: str | None


async def recover(state_dir: Path, kubeconfig: Path | None, node_name: str) -> Recovered:
    """Read the cluster, and only when that has succeeded put a new database in the place of the old one.

    Raises:
        Terminal: a daemon holds the directory.
        SettingsError: the credentials are no use.
        ApiError: the cluster cannot be read.
        Transient: the disk does not let us.
    """
    await asyncio.to_thread(_refuse_if_locked, state_dir)
    async with Client(await credentials.load(kubeconfig)) as client:
        vms, pods = await _owned(client, node_name)
    async with standalone(state_dir, anew=True) as database:
        store = await IntentStore.load(database)
        adopted = await store.adopt(rebuild(vms, pods, new_id=store.new_id), now=datetime.now(UTC))
        aside = database.set_aside
    return Recovered(adopted, len(vms), len(pods), str(aside) if aside else None)


def _refuse_if_locked(state_dir: Path) -> None:
    lock = StateLock(state_dir)
    lock.acquire()
    lock.release()


async def _owned(client: Client, node_name: str) -> tuple[list[VirtualMachine], list[Pod]]:
    selector = f"{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_NODE}={label_value(node_name)}"
    vms = _decoded(await client.list(VIRTUALMACHINES, label_selector=selector), _VirtualMachines)
    pods = _decoded(await client.list(PODS, field_selector=f"spec.nodeName={node_name}"), _Pods)
    return vms.items, pods.items


def _decoded(body: bytes, kind: type[T]) -> T:
    """A list, or nothing at all: an answer without ``items`` must not be taken for an empty cluster."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise ApiUnavailable(0, "UnreadableAnswer", f"the API server's answer cannot be read: {error}") from error
