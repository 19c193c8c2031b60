"""Guests are served as soon as they can be; until then the node does without, and says why."""

import asyncio
import base64
import socket
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from kubelet_bridge.daemon import guestside
from kubelet_bridge.daemon.guestside import GuestSide
from kubelet_bridge.devcluster.ports import free_port
from kubelet_bridge.errors import ApiUnavailable, BridgeError, Forbidden, NotFound
from kubelet_bridge.guest.bundle.archive import sources
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.guestrecord import GuestRecord
from kubelet_bridge.model.guesttoken import boot_token
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.settings import Settings
from kubelet_bridge.store.database import Database
from kubelet_bridge.store.guests import GuestStore
from kubelet_bridge.store.standalone import standalone
from kubelet_bridge.telemetry.metrics import Metrics
from kubelet_bridge.translate.config import GuestAccess
from tests.support.guests import Agent, running, soon

KEY = PodKey("default", "web", "uid-web")


class Secrets:
    """An API server with one Secret, and a fault."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] | None = None
        self.fault: BridgeError | None = None

    async def get(self, *_: object) -> bytes:
        if self.fault is not None:
            raise self.fault
        if self.kept is None:
            raise NotFound(404, "NotFound", "no such Secret")
        return msgspec.json.encode(self.kept)

    async def create(self, _resource: object, _namespace: object, body: dict[str, Any]) -> None:
        self.kept = body


class Side:
    """A guests' side, and what it told."""

    def __init__(self, directory: Path, secrets: Secrets, database: Database) -> None:
        self.agent_file = directory / "agent.pyz"
        settings = Settings(
            state_dir=str(directory), guest_listen=f"127.0.0.1:{free_port()}", agent_file=str(self.agent_file),
            guest_files_listen=f"127.0.0.1:{free_port()}", namespace="system",
        )  # fmt: skip
        self.port = int(settings.guest_listen.rpartition(":")[2])
        self.changes = 0
        self.late: list[GuestAccess] = []
        client = cast("Client", secrets)
        self.side = GuestSide(settings, client, database, Metrics(), "127.0.0.1", self._changed)

    def _changed(self) -> None:
        self.changes += 1

    async def begin(self) -> GuestAccess | None:
        async def manifest(_: PodKey) -> None:
            return None

        self.guests = await self.side.begin(
            {KEY.uid}, manifest=manifest, record=lambda *_: None, enqueue=lambda _: None, served=self.late.append
        )
        return await self.side.access()

    def write_agent(self) -> None:
        with zipfile.ZipFile(self.agent_file, "w") as archive:
            for name, content in sources().items():
                archive.writestr(name, content)


@pytest.fixture
def secrets() -> Secrets:
    return Secrets()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    class Quick(guestside.Backoff):
        def next(self) -> float:
            return 0.02

    monkeypatch.setattr(guestside, "Backoff", Quick)


@asynccontextmanager
async def begun(directory: Path, secrets: Secrets, *, agent: bool = True) -> AsyncIterator[Side]:
    async with standalone(directory) as database:
        await GuestStore(database).save(GuestRecord(uid=KEY.uid, namespace=KEY.namespace, name=KEY.name))
        one = Side(directory, secrets, database)
        if agent:
            await asyncio.to_thread(one.write_agent)
        async with one.side.logs, running(one.side.logs.run()), running(one.side.run()):
            yield one


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def served(one: Side, ca: str, key: bytes) -> None:
    """An agent of the Pod is welcome."""
    assert one.guests is not None
    one.guests.expect(KEY, boot="vmi-1")
    await soon(lambda: listens(one.port), "the server listens")
    async with Agent(one.port, ca.encode(), KEY) as agent:
        assert (await agent.introduce(boot_token(key, KEY.uid))).session_token


FAULTS: dict[str, tuple[BridgeError, str]] = {
    "forbidden": (Forbidden(403, "Forbidden", "secrets is forbidden"), "GuestSecretUnavailable"),
    "unavailable": (ApiUnavailable(0, "ApiUnavailable", "connection refused"), "GuestSecretUnavailable"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_secret_that_cannot_be_had_is_had_later(tmp_path: Path, secrets: Secrets, fault: str) -> None:
    secrets.fault, reason = FAULTS[fault]
    async with begun(tmp_path, secrets) as one:
        assert await one.begin() is None
        assert one.side.trouble is not None
        assert one.side.trouble.reason == reason
        assert "system/kubelet-bridge-guest-kubelet-bridge" in one.side.trouble.message
        assert one.guests is not None
        assert one.guests.get(KEY.uid) is not None, "what was reported before is forgotten"
        one.guests.expect(PodKey("default", "new", "uid-new"), boot="vmi-9")
        assert one.guests.get("uid-new") is None, "an agent is missed that could not have come"
        await asyncio.sleep(0.1)
        assert one.changes == 1
        secrets.fault = None
        await soon(lambda: bool(one.late), "served after all")
        assert one.side.trouble is None
        assert one.changes == 2
        await served(one, one.late[0].ca, one.late[0].key)


async def test_a_spoilt_secret_is_left_alone_until_it_is_mended(tmp_path: Path, secrets: Secrets) -> None:
    async with begun(tmp_path / "other", secrets) as one:
        assert await one.begin() is not None
    good, secrets.kept = secrets.kept, {"data": {"ca.crt": base64.b64encode(b"something else").decode()}}
    async with begun(tmp_path, secrets) as one:
        assert await one.begin() is None
        assert one.side.trouble is not None
        assert one.side.trouble.reason == "InvalidGuestSecret"
        assert secrets.kept == {"data": {"ca.crt": base64.b64encode(b"something else").decode()}}
        secrets.kept = good
        await soon(lambda: bool(one.late), "served after all")


async def test_an_agent_that_is_missing_is_found_later(tmp_path: Path, secrets: Secrets) -> None:
    async with begun(tmp_path, secrets, agent=False) as one:
        assert await one.begin() is None
        assert one.side.trouble is not None
        assert one.side.trouble.reason == "AgentUnavailable"
        await asyncio.to_thread(one.write_agent)
        await soon(lambda: bool(one.late), "served after all")
        await served(one, one.late[0].ca, one.late[0].key)


async def test_a_moments_weakness_is_not_told(tmp_path: Path, secrets: Secrets) -> None:
    class Once(Secrets):
        async def get(self, *more: object) -> bytes:
            fault, self.fault = self.fault, None
            if fault is not None:
                raise fault
            return await super().get(*more)

    weak = Once()
    weak.fault = ApiUnavailable(0, "ApiUnavailable", "connection reset")
    async with begun(tmp_path, weak) as one:
        access = await one.begin()
        assert access is not None
        assert (one.changes, one.late) == (0, [])
        await served(one, access.ca, access.key)
