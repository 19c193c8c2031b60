"""A bridge that says anything at any time: the agent goes on, starts nothing twice, and obeys the next sane one."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubelet_bridge.agent import workload
from kubelet_bridge.agent.config import Paths, Seed
from kubelet_bridge.agent.credentials import Vault
from kubelet_bridge.agent.driver import Exit, Run, RunError
from kubelet_bridge.agent.logs import Shipper
from kubelet_bridge.agent.probing import checks
from kubelet_bridge.agent.probing.result import passed
from kubelet_bridge.agent.session import Session
from kubelet_bridge.agent.spool import Spool
from kubelet_bridge.agent.v1 import agent_pb2 as pb

from .messages import messages

TOKEN, UID = "boot-token", "uid"
SEED = Seed(UID, "bridge", 1, "name", "ca", TOKEN)

ORDERS = messages(
    pb.BridgeMessage.DESCRIPTOR,
    {
        "Shutdown.power_off": st.just(False),
        "PodManifest.pod_uid": st.sampled_from([UID, UID, UID, "another"]),
        "PodManifest.runtime": st.sampled_from([pb.RUNTIME_HOST, pb.RUNTIME_PODMAN, 0, 99]),
        "Container.name": st.sampled_from(["app", "app", "app-2", "side", "../../up", ""]),
        "ForwardStream.port": st.sampled_from([0, 1, 70000]),
    },
)


class Driver:
    """Runs nothing, and notices when something would run twice."""

    def __init__(self, *_: object) -> None:
        self.runs_of: dict[str, Run] = {}
        self.over: dict[str, asyncio.Event] = {}
        self.twice: list[str] = []

    async def prepare(self, manifest: pb.PodManifest) -> None: ...

    async def runs(self) -> list[Run]:
        return list(self.runs_of.values())

    async def image(self, *_: object) -> tuple[str, bool]:
        return "image", False

    async def start(self, manifest: pb.PodManifest, container: pb.Container, attempt: int, image_id: str) -> Run:
        number = f"{container.name}-{attempt}-{manifest.boot}"
        alive = [run.container for run in self.runs_of.values() if not self.over[run.id].is_set()]
        if number in self.runs_of or container.name in alive:
            self.twice.append(number)
        run = Run(number, container.name, attempt, 1, manifest.boot, "/nowhere", container.image, image_id)
        self.runs_of[number], self.over[number] = run, asyncio.Event()
        return run

    async def wait(self, run: Run) -> Exit:
        await self.over[run.id].wait()
        return Exit(0, 0, False, 1, 2)

    async def stop(self, run: Run, signal: str, grace: float) -> None:
        self.over[run.id].set()

    async def remove(self, run: Run) -> None:
        self.runs_of.pop(run.id, None)

    async def exec(self, *_: object, **__: object) -> Any:
        raise RunError("CannotRun", "there is nothing to run")

    async def attach(self, *_: object, **__: object) -> Any:
        raise RunError("CannotRun", "there is nothing to attach to")

    async def usage(self, run: Run) -> pb.ContainerUsage:
        return pb.ContainerUsage(name=run.container)

    async def close(self) -> None: ...


class Connection:
    """Answers Hello, says what it has to say, and hangs up; the last one stays."""

    def __init__(self, orders: Sequence[pb.BridgeMessage], *, stays: bool, welcome: pb.Welcome) -> None:
        self._orders = list(orders)
        self._stays = stays
        self._welcome = welcome
        self._to_say: asyncio.Queue[pb.BridgeMessage | None] = asyncio.Queue()
        self.heard: list[pb.GuestMessage] = []
        self.news = asyncio.Event()

    async def send(self, message: bytes) -> None:
        said = pb.GuestMessage.FromString(message)
        self.heard.append(said)
        self.news.set()
        if said.HasField("hello"):
            secret = said.hello.token if said.hello.token_kind == pb.TOKEN_KIND_BOOT else "secret"
            self._welcome.proof = hmac.digest(secret.encode(), said.hello.nonce, "sha256")
            self._welcome.session_token, self._welcome.bridge_secret = "session", "secret"
            for order in [pb.BridgeMessage(welcome=self._welcome), *self._orders]:
                self._to_say.put_nowait(order)
            if not self._stays:
                self._to_say.put_nowait(None)

    async def receive(self) -> pb.BridgeMessage | None:
        return await self._to_say.get()

    async def close(self) -> None: ...

    async def report(self, revision: str) -> pb.PodReport:
        while True:
            for said in self.heard:
                if said.HasField("report") and said.report.manifest_revision == revision:
                    return said.report
            self.news.clear()
            await self.news.wait()


class Transport:
    def __init__(self, connections: list[Connection]) -> None:
        self._connections = iter(connections)

    async def connect(self) -> Connection:
        connection = next(self._connections, None)
        if connection is None:
            await asyncio.Event().wait()
        assert connection is not None
        return connection


def sane() -> pb.PodManifest:
    made = pb.PodManifest(pod_uid=UID, revision="sane", boot="sane", runtime=pb.RUNTIME_HOST)
    made.containers.add(name="app", image="os", command=["sleep"])
    return made


async def live_through(scripts: Sequence[tuple[pb.Welcome, list[pb.BridgeMessage]]], paths: Paths) -> None:
    connections = [Connection(orders, stays=False, welcome=welcome) for welcome, orders in scripts]
    last = Connection([pb.BridgeMessage(manifest=sane())], stays=True, welcome=pb.Welcome(max_message_bytes=4 << 20))

    async def hello() -> pb.Hello:
        return pb.Hello()

    vault = Vault(paths.session, paths.run / "session.json", UID)
    session = Session(Transport([*connections, last]), SEED, vault, Spool(paths.spool), hello)
    shipper = Shipper(session, paths.spool / "logs.json")
    parts = workload.Workload(SEED, paths, session, shipper, "kernel-boot")
    running = [asyncio.get_running_loop().create_task(one) for one in (session.run(), parts.run(), shipper.run())]
    reported = asyncio.get_running_loop().create_task(last.report("sane"))
    try:
        await asyncio.wait([*running, reported], timeout=20, return_when=asyncio.FIRST_COMPLETED)
        for task in running:
            assert not task.done(), f"a part of the agent has ended: {task!r}"
        assert reported.done(), "the agent does not do what it is told any more"
        assert [one.name for one in reported.result().containers] == ["app"]
        assert parts._driver.twice == []  # type: ignore[attr-defined]
    finally:
        for task in [*running, reported]:
            task.cancel()
        for task in [*running, reported]:
            with contextlib.suppress(asyncio.CancelledError):
                await task


def live(scripts: Sequence[tuple[pb.Welcome, list[pb.BridgeMessage]]], place: Path) -> None:
    paths = Paths(place / "seed", place / "state", place / "run")
    paths.make()
    asyncio.run(live_through(scripts, paths))
    assert sum(path.stat().st_size for path in paths.state.rglob("*") if path.is_file()) < 1 << 20


@pytest.fixture
def harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine is touched."""

    async def check(*_: object) -> Any:
        return passed()

    monkeypatch.setattr(workload, "HostDriver", Driver)
    monkeypatch.setattr(workload, "PodmanDriver", Driver)
    monkeypatch.setattr(workload, "apply_keys", lambda wanted: pb.KeysApplied(revision=wanted.revision))
    monkeypatch.setattr(checks, "check", check)
    monkeypatch.setattr("kubelet_bridge.agent.backoff.FIRST", 0.001)
    monkeypatch.setattr("kubelet_bridge.agent.backoff.LAST", 0.001)
    monkeypatch.setattr(workload, "FLUSH_SECONDS", 0.01)


WELCOMES = messages(pb.Welcome.DESCRIPTOR, {"Welcome.max_message_bytes": st.sampled_from([0, 100, 1 << 22])})


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(scripts=st.lists(st.tuples(WELCOMES, st.lists(ORDERS, max_size=12)), min_size=1, max_size=3))
@pytest.mark.usefixtures("harmless")
def test_it_lives_through_anything(scripts: list[tuple[pb.Welcome, list[pb.BridgeMessage]]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        live(scripts, Path(place))


@pytest.mark.usefixtures("harmless")
def test_the_same_manifest_again_and_again_starts_nothing_twice(tmp_path: Path) -> None:
    orders = list(itertools.repeat(pb.BridgeMessage(manifest=sane()), 200))
    live([(pb.Welcome(), orders)] * 5, tmp_path)
