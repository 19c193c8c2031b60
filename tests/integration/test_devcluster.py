"""The development cluster: made, left alone, repaired after every kind of death, and removed without a trace."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubelet_bridge.devcluster import network, processes
from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.devcluster.preparation import Options
from kubelet_bridge.errors import Forbidden, Terminal
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.resources import CONFIGMAPS, NODES, PODS, VIRTUALMACHINES, VM_SUBRESOURCES
from tests.support.cluster import run_apart

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

WITHOUT_HOSTS = Options(hosts=0)
PROGRAMS = 8
"""etcd, three of Kubernetes, two of KubeVirt, two of CDI."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    """A control plane of this module's own, to be broken."""
    one = DevCluster(tmp_path_factory.mktemp("cluster") / "dev")
    try:
        run_apart(one.up(WITHOUT_HOSTS))
        yield one
    finally:
        run_apart(one.down())


@pytest.fixture
async def client(cluster: DevCluster) -> AsyncIterator[Client]:
    await cluster.up()
    async with cluster.client() as one:
        yield one


def _pids(cluster: DevCluster) -> dict[str, int]:
    return {
        part.name: process.pid
        for part in cluster.components(cluster.state)
        if (process := processes.recorded(cluster.layout, part.name)) is not None
    }


def _kill(pid: int) -> None:
    process = processes.identify(pid)
    assert process is not None
    processes.stop(process, grace=0)


async def test_up_again_changes_nothing(cluster: DevCluster, client: Client) -> None:
    before, state = await asyncio.to_thread(_pids, cluster), cluster.state
    assert await cluster.up() == state
    assert await asyncio.to_thread(_pids, cluster) == before
    assert [row.state for row in await cluster.status()] == ["running"] * PROGRAMS


async def test_kubevirt_defaults_a_vm_and_answers_subresources(client: Client) -> None:
    vm = {
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "probe"},
        "spec": {"runStrategy": "Halted", "template": {"spec": {
            "domain": {"devices": {}, "memory": {"guest": "64Mi"}},
        }}},
    }  # fmt: skip
    path = VIRTUALMACHINES.path("default")
    answer = await client.request("POST", path, params={"dryRun": "All"}, body=msgspec.json.encode(vm))
    spec = msgspec.json.decode(answer)["spec"]["template"]["spec"]
    assert spec["architecture"]
    assert spec["domain"]["machine"]["type"]
    served = msgspec.json.decode(await client.request("GET", f"/apis/{VM_SUBRESOURCES.api_version}"))
    assert "virtualmachines/restart" in {one["name"] for one in served["resources"]}


async def test_who_the_bridge_is_and_what_it_may_do(cluster: DevCluster, client: Client) -> None:
    async with cluster.client("bridge") as bridge:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = await bridge.request(
            "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=msgspec.json.encode(review)
        )
        user: dict[str, Any] = msgspec.json.decode(answer)["status"]["userInfo"]
        assert user["username"] == "system:serviceaccount:kubelet-bridge:kubelet-bridge"
        assert "system:serviceaccounts:kubelet-bridge" in user["groups"]
        await bridge.get(CONFIGMAPS, "kube-system", "extension-apiserver-authentication")
        await bridge.list(VIRTUALMACHINES)
        with pytest.raises(Forbidden):
            await bridge.create(PODS, "default", {"metadata": {"name": "x"}})


@pytest.mark.parametrize("names", [["virt-controller"], ["etcd", "kube-apiserver"], ["kube-scheduler", "virt-api"]])
async def test_killed_components_are_started_again(cluster: DevCluster, client: Client, names: list[str]) -> None:
    name = f"kept-{names[0]}"
    await client.create(CONFIGMAPS, "default", {"metadata": {"name": name}, "data": {"a": "1"}})
    before = await asyncio.to_thread(_pids, cluster)
    for victim in names:
        await asyncio.to_thread(_kill, before[victim])
    assert {row.name for row in await cluster.status() if row.state == "stopped"} == set(names)
    await cluster.up()
    after = await asyncio.to_thread(_pids, cluster)
    assert {component for component in after if after[component] != before[component]} == set(names)
    assert msgspec.json.decode(await client.get(CONFIGMAPS, "default", name))["data"] == {"a": "1"}
    await client.delete(CONFIGMAPS, "default", name)


async def test_a_component_away_for_a_while(cluster: DevCluster, client: Client) -> None:
    await cluster.stop("kube-apiserver")
    assert [row.name for row in await cluster.status() if row.pid is None] == ["kube-apiserver"]
    await cluster.start("kube-apiserver")
    await client.list(NODES)


async def test_another_version_is_refused(cluster: DevCluster, client: Client) -> None:
    with pytest.raises(Terminal, match=r"runs Kubernetes .*, not 1\.99\.0; `kubelet-bridge dev down` first"):
        await cluster.up(Options(kubernetes_version="1.99.0"))


async def test_a_watch_from_before_a_compaction_is_answered_410(cluster: DevCluster, client: Client) -> None:
    old = msgspec.json.decode(await client.list(CONFIGMAPS))["metadata"]["resourceVersion"]
    for number in range(3):
        await client.create(CONFIGMAPS, "default", {"metadata": {"name": f"c{number}"}})
        await client.delete(CONFIGMAPS, "default", f"c{number}")
    await cluster.compact()
    watch = {"watch": "1", "resourceVersion": old, "timeoutSeconds": "1"}
    event = msgspec.json.decode(await client.request("GET", CONFIGMAPS.path(), params=watch))
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


@pytest.fixture
async def second(tmp_path: Path) -> AsyncIterator[DevCluster]:
    one = DevCluster(tmp_path / "second")
    try:
        yield one
    finally:
        await one.down()


async def _kill_up_at(cluster: DevCluster, component: str) -> None:
    """Start `dev up` and kill it as soon as it has started ``component``."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kubelet_bridge", "dev", "up", "--directory", str(cluster.layout.directory),
        "--hosts", "0", stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    record = processes.record_file(cluster.layout, component)
    while not record.exists() and process.returncode is None:
        await asyncio.sleep(0.02)
    process.kill()
    await process.wait()


async def test_up_is_killed_beside_another_cluster_and_leaves_nothing(
    cluster: DevCluster, client: Client, second: DevCluster
) -> None:
    """Killed at any moment, the next `up` goes on from there; `down` then finds every process and address."""
    for component in ("etcd", "kube-apiserver", "virt-controller"):
        await _kill_up_at(second, component)
    state = await second.up(WITHOUT_HOSTS)
    assert [row.state for row in await second.status()] == ["running"] * PROGRAMS
    assert len(await asyncio.to_thread(processes.belonging_to, second.layout)) == PROGRAMS
    assert not set(msgspec.structs.astuple(state.ports)) & set(msgspec.structs.astuple(cluster.state.ports))
    assert state.pod_cidr != cluster.state.pod_cidr
    async with second.client() as other:
        await other.list(NODES)
    await second.down()
    assert await asyncio.to_thread(processes.belonging_to, second.layout) == []
    assert state.interface is None or not await asyncio.to_thread(network.is_prepared, state.pod_cidr)
    assert not second.layout.directory.exists()
    assert [row.state for row in await cluster.status()] == ["running"] * PROGRAMS


@pytest.mark.parametrize("lost", ["record", "directory"])
async def test_down_finds_processes_without_the_record(second: DevCluster, lost: str) -> None:
    def start_and_lose() -> processes.Process:
        second.layout.make()
        second.layout.lock.touch()
        second.layout.state.write_text("{")
        started = processes.start(second.layout, "one", ["sleep", "600"], {})
        if lost == "directory":
            shutil.rmtree(second.layout.directory)
        return started

    started = await asyncio.to_thread(start_and_lose)
    await second.down()
    assert not await asyncio.to_thread(lambda: started.alive)
    assert not second.layout.directory.exists()
