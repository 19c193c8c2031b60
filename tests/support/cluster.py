"""The development cluster that tests share: one per session, or one that is up already and stays up."""

import asyncio
import os
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.devcluster.progress import Progress

AUDIT_TO = "KUBELET_BRIDGE_AUDIT_TO"
"""A file to which the cluster's audit log is appended in the end (``rightsaudit``)."""

GIVEN = "KUBELET_BRIDGE_TEST_CLUSTER"
"""A directory: its cluster is made or repaired, used, and left up."""


def run_apart(work: Coroutine[Any, Any, Any]) -> None:
    """Run ``work`` on a loop of its own, in a thread of its own: a session's fixture must not touch a test's loop."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


@pytest.fixture(scope="session")
def dev_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    """The real thing: etcd, Kubernetes, KubeVirt's controllers, one dev host."""
    given = os.environ.get(GIVEN)
    cluster = DevCluster(Path(given) if given else tmp_path_factory.mktemp("cluster") / "dev", Progress())
    try:
        run_apart(cluster.up())
        yield cluster
    finally:
        if audit := os.environ.get(AUDIT_TO):
            with Path(audit).open("ab") as file:
                file.write(cluster.layout.audit_log.read_bytes())
        if not given:
            run_apart(cluster.down())
