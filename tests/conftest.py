"""Guards that every test runs under, and the options of the suite."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = [
    "tests.support.cluster",
    "tests.support.bridge",
    "tests.support.chart",
    "tests.support.kubectl",
    "tests.support.devhost",
    "tests.support.disks",
    "tests.support.imageserver",
]

# How fast a machine is, and how busy, decides nothing.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_CLUSTER_RINGS = {"integration", "e2e", "crash"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files instead of comparing with them")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick rings first; what needs a cluster or kills processes last."""
    rings = ["unit", "golden", "properties", "chart", "integration", "e2e", "crash"]

    def ring(item: pytest.Item) -> int:
        folder = _parts(item)[0]
        return rings.index(folder) if folder in rings else 0

    items.sort(key=ring)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where tests run side by side: real guests one after the other, a file's tests of a cluster together."""

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            if "/guests/" in path:
                return "guests"
            return path if _CLUSTER_RINGS & set(path.split("/")) else nodeid

    return Scheduling(config, log)


def _parts(item: pytest.Item) -> tuple[str, ...]:
    return Path(item.path).relative_to(Path(__file__).parent).parts


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(autouse=True)
def no_blocked_loop() -> Iterator[None]:
    """A blocking call on the event loop, from our code, is an error."""
    guard = BlockBuster(scanned_modules=["kubelet_bridge"])
    for function in guard.functions.values():  # it runs on a thread and a loop of its own
        function.can_block_in("kubelet_bridge/kube/kubeconfig.py", "_read")
        function.can_block_in("linecache.py", {"checkcache", "updatecache", "lazycache"})  # a traceback is logged
    guard.activate()
    yield
    guard.deactivate()


@pytest.fixture(autouse=True)
async def no_leaked_task(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Whatever task a test started has ended when the test does."""
    before = asyncio.all_tasks()
    yield
    leaked = {task for task in asyncio.all_tasks() - before if not task.done() and task is not asyncio.current_task()}
    assert not leaked, f"tasks left running: {sorted(task.get_name() for task in leaked)}"
