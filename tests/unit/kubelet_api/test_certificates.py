import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from kubelet_bridge.aio import files
from kubelet_bridge.aio.backoff import Backoff
from kubelet_bridge.errors import AlreadyExists, ApiUnavailable, SettingsError
from kubelet_bridge.kubelet_api import pki
from kubelet_bridge.kubelet_api.certificates import (
    FileCertificate,
    KeyPair,
    SelfSignedCertificate,
    ServingCertificate,
)
from kubelet_bridge.kubelet_api.clientca import ClientCa
from kubelet_bridge.kubelet_api.signing import SignedCertificate
from kubelet_bridge.kubelet_api.tls import server_context
from kubelet_bridge.model.access import Issued, Missing, Refused, SigningAnswer, Waiting
from tests.support.authority import Authority

NODE = "vnode"
SOON = Backoff(base=0.001, cap=0.002)


class Changes:
    """Counts changes, and lets a test wait for the next."""

    def __init__(self) -> None:
        self.number = 0
        self._event = asyncio.Event()

    def __call__(self) -> None:
        self.number += 1
        self._event.set()

    async def next(self) -> None:
        await self._event.wait()
        self._event.clear()


@asynccontextmanager
async def running(certificate: ServingCertificate) -> AsyncIterator[Changes]:
    changes = Changes()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(certificate.run(changes))
        yield changes
        task.cancel()


def leaf_of(certificate: ServingCertificate) -> pki.Leaf:
    return pki.leaf(certificate.pair.certificate.read_bytes())


def test_names_from_addresses() -> None:
    names = pki.Names.of(["10.0.0.1", "fd00::1", "Node.Example", "10.0.0.1", "not a name", ""])
    assert names == pki.Names(dns=("node.example",), ips=("10.0.0.1", "fd00::1"))
    assert names.covers(pki.Names(ips=("fd00::1",)))
    assert not names.covers(pki.Names(ips=("10.0.0.2",)))
    assert not pki.Names.of(["_"])


def test_the_request_is_what_the_signer_demands() -> None:
    request = x509.load_pem_x509_csr(
        pki.signing_request(pki.new_key(), NODE, pki.Names(dns=("n.example",), ips=("10.0.0.1",)))
    )
    assert request.subject.rfc4514_string() == "CN=system:node:vnode,O=system:nodes"
    (extension,) = request.extensions
    assert isinstance(extension.value, x509.SubjectAlternativeName)
    assert [str(name.value) for name in extension.value] == ["n.example", "10.0.0.1"]


async def test_self_signed_is_kept_private_and_over_restarts(tmp_path: Path) -> None:
    first = SelfSignedCertificate(tmp_path / "state", NODE, lambda: ["10.0.0.1"])
    await first.start()
    content = first.pair.certificate.read_bytes()
    assert first.pair.certificate.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert leaf_of(first).names == pki.Names(ips=("10.0.0.1",))
    server_context(first.pair, None)
    again = SelfSignedCertificate(tmp_path / "state", NODE, lambda: ["10.0.0.1"])
    await again.start()
    assert again.pair.certificate.read_bytes() == content


async def test_self_signed_follows_addresses_and_time(tmp_path: Path) -> None:
    now, addresses = datetime.now(UTC), ["10.0.0.1"]
    certificate = SelfSignedCertificate(tmp_path, NODE, lambda: addresses, clock=lambda: now, look_again=0.001)
    await certificate.start()
    async with running(certificate) as changes:
        addresses.append("10.0.0.2")
        await changes.next()
        assert leaf_of(certificate).names.ips == ("10.0.0.1", "10.0.0.2")
        ends = leaf_of(certificate).not_after
        now += timedelta(days=350)
        await changes.next()
        assert leaf_of(certificate).not_after > ends
    assert changes.number == 2


async def test_a_file_that_cannot_be_read_as_one_is_set_aside_for_a_new(tmp_path: Path) -> None:
    (tmp_path / "kubelet-self-signed.pem").write_bytes(b"-----BEGIN nonsense")
    certificate = SelfSignedCertificate(tmp_path, NODE, lambda: ["10.0.0.1"])
    await certificate.start()
    assert leaf_of(certificate).common_name == "system:node:vnode"


async def test_files_are_loaded_again_when_they_change(tmp_path: Path) -> None:
    authority = Authority()
    certificate = FileCertificate(KeyPair(*authority.serving(tmp_path)), look_again=0.001)
    await certificate.start()
    async with running(certificate) as changes:
        authority.serving(tmp_path)
        await changes.next()
    assert changes.number >= 1


async def test_files_that_do_not_fit_while_being_replaced_change_nothing(tmp_path: Path) -> None:
    authority = Authority()
    pair = KeyPair(*authority.serving(tmp_path))
    other = authority.serving(tmp_path, name="other")
    certificate = FileCertificate(pair, look_again=0.001)
    await certificate.start()
    async with running(certificate) as changes:
        pair.certificate.write_bytes(other[0].read_bytes())
        await asyncio.sleep(0.05)
        assert changes.number == 0
        pair.key.write_bytes(other[1].read_bytes())
        await changes.next()


async def test_missing_or_foreign_files_stop_the_start(tmp_path: Path) -> None:
    authority = Authority()
    one, other = authority.serving(tmp_path, name="one"), authority.serving(tmp_path, name="two")
    with pytest.raises(SettingsError, match="is not for the key"):
        await FileCertificate(KeyPair(one[0], other[1])).start()
    with pytest.raises(SettingsError, match="No such file"):
        await FileCertificate(KeyPair(tmp_path / "none", one[1])).start()


class Cluster:
    """A signer as the API server is one: requests by name, approved when the test says so."""

    def __init__(self) -> None:
        self.authority = Authority()
        self.requests: dict[str, bytes] = {}
        self.submitted = 0
        self.approve = True
        self.refuse: Refused | None = None
        self.down = 0
        self.lasts = timedelta(days=1)
        self.began: datetime | None = None
        self.asked = asyncio.Event()

    async def submit(self, name: str, request: bytes) -> None:
        if self.down > 0:
            self.down -= 1
            raise ApiUnavailable(0, "Unreachable", "down", retry_after=0.001)
        self.submitted += 1
        self.requests.setdefault(name, request)

    async def answer(self, name: str) -> SigningAnswer:
        self.asked.set()
        if name not in self.requests:
            return Missing()
        if self.refuse is not None:
            return self.refuse
        if not self.approve:
            return Waiting()
        return Issued(self.authority.sign(self.requests[name], lasts=self.lasts, began=self.began))


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


Maker = Callable[..., SignedCertificate]


@pytest.fixture
def signed(cluster: Cluster, tmp_path: Path) -> Maker:
    def make(addresses: list[str] | None = None, clock: Callable[[], datetime] | None = None) -> SignedCertificate:
        names = ["10.0.0.1"] if addresses is None else addresses
        return SignedCertificate(
            tmp_path, NODE, lambda: names, cluster, clock=clock or (lambda: datetime.now(UTC)),
            draw=random.uniform, poll=SOON, look_again=0.001,
        )  # fmt: skip

    return make


async def test_self_signed_until_the_cluster_has_signed(cluster: Cluster, signed: Maker) -> None:
    cluster.approve = False
    certificate = signed()
    await certificate.start()
    assert certificate.pair.certificate.name == "kubelet-self-signed.pem"
    async with running(certificate) as changes:
        await cluster.asked.wait()
        assert changes.number == 0
        cluster.approve = True
        await changes.next()
    assert certificate.pair.certificate.name == "kubelet-serving.pem"
    assert certificate.pair.certificate.stat().st_mode & 0o777 == 0o600
    assert leaf_of(certificate).names.ips == ("10.0.0.1",)
    server_context(certificate.pair, cluster.authority.pem)
    assert cluster.submitted == 1


async def test_a_signed_one_is_taken_up_after_a_restart(cluster: Cluster, signed: Maker) -> None:
    certificate = signed()
    await certificate.start()
    async with running(certificate) as changes:
        await changes.next()
    again = signed()
    await again.start()
    assert again.pair.certificate.name == "kubelet-serving.pem"
    async with running(again) as changes:
        await asyncio.sleep(0.02)
    assert (changes.number, cluster.submitted) == (0, 1)


async def test_an_approval_given_while_we_were_down_is_found(cluster: Cluster, signed: Maker) -> None:
    cluster.approve = False
    certificate = signed()
    await certificate.start()
    async with running(certificate):
        await cluster.asked.wait()
    cluster.approve = True
    again = signed()
    await again.start()
    async with running(again) as changes:
        await changes.next()
    assert len(cluster.requests) == 1


async def test_renewed_between_70_and_90_percent_of_its_life(cluster: Cluster, signed: Maker) -> None:
    now = datetime.now(UTC)
    certificate = signed(clock=lambda: now)
    await certificate.start()
    async with running(certificate) as changes:
        await changes.next()
        first = leaf_of(certificate)
        now = first.not_before + cluster.lasts * 0.69
        await asyncio.sleep(0.02)
        assert changes.number == 1
        cluster.began = now = first.not_before + cluster.lasts * 0.91
        await changes.next()
        assert leaf_of(certificate).not_before > first.not_before
    assert len(cluster.requests) == 2


async def test_new_addresses_ask_for_a_new_one(cluster: Cluster, signed: Maker) -> None:
    addresses = ["10.0.0.1"]
    certificate = signed(addresses)
    await certificate.start()
    async with running(certificate) as changes:
        await changes.next()
        addresses[:] = ["10.0.0.9"]
        await changes.next()
        assert leaf_of(certificate).names.ips == ("10.0.0.9",)


async def test_addresses_that_change_while_waiting(cluster: Cluster, signed: Maker) -> None:
    cluster.approve = False
    addresses = ["10.0.0.1"]
    certificate = signed(addresses)
    await certificate.start()
    async with running(certificate) as changes:
        await cluster.asked.wait()
        addresses[:] = ["10.0.0.9"]
        while leaf_of(certificate).names.ips != ("10.0.0.9",):
            await changes.next()
        cluster.approve = True
        while certificate.pair.certificate.name != "kubelet-serving.pem":
            await changes.next()
        assert leaf_of(certificate).names.ips == ("10.0.0.9",)
    assert len(cluster.requests) == 2


async def test_without_an_address_nothing_is_asked_for(cluster: Cluster, signed: Maker) -> None:
    certificate = signed([])
    await certificate.start()
    async with running(certificate):
        await asyncio.sleep(0.02)
    assert cluster.submitted == 0


async def test_an_api_server_that_is_away_is_asked_again(cluster: Cluster, signed: Maker) -> None:
    cluster.down = 3
    certificate = signed()
    await certificate.start()
    async with running(certificate) as changes:
        await changes.next()
    assert cluster.submitted == 1


async def test_a_request_that_was_removed_is_made_again(cluster: Cluster, signed: Maker) -> None:
    cluster.approve = False
    certificate = signed()
    await certificate.start()
    async with running(certificate) as changes:
        await cluster.asked.wait()
        cluster.requests.clear()
        while cluster.submitted < 2:
            cluster.asked.clear()
            await cluster.asked.wait()
        cluster.approve = True
        await changes.next()
    assert len(cluster.requests) == 1


async def test_a_refusal_throws_the_key_away(cluster: Cluster, signed: Maker, tmp_path: Path) -> None:
    cluster.refuse = Refused("Denied", "not on my cluster")
    certificate = signed()
    await certificate.start()
    async with running(certificate) as changes:
        await cluster.asked.wait()
        await asyncio.sleep(0.05)
    assert not (tmp_path / "kubelet-serving.key.pending").exists()
    assert (changes.number, cluster.submitted) == (0, 1)
    assert certificate.pair.certificate.name == "kubelet-self-signed.pem"


async def test_an_answer_for_another_key_is_never_served(cluster: Cluster, signed: Maker, tmp_path: Path) -> None:
    foreign = pki.signing_request(pki.new_key(), NODE, pki.Names(ips=("10.0.0.1",)))
    submit = cluster.submit

    async def squatted(name: str, request: bytes) -> None:
        cluster.requests[name] = foreign
        await submit(name, request)

    cluster.submit = squatted  # type: ignore[method-assign]
    certificate = signed()
    await certificate.start()
    async with running(certificate) as changes:
        await cluster.asked.wait()
        await asyncio.sleep(0.02)
    assert changes.number == 0
    assert not (tmp_path / "kubelet-serving.pem").exists()


async def test_the_authority_of_clients_is_followed() -> None:
    first, second = Authority().pem, Authority().pem
    answers: list[bytes | Exception] = [AlreadyExists(409, "", ""), first, b"garbage", OSError("gone"), first, second]

    async def read() -> bytes:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    authority, changes = ClientCa(read, interval=0.001), Changes()
    await authority.start()
    seen = [authority.pem]
    async with asyncio.TaskGroup() as group:
        task = group.create_task(authority.run(changes))
        for _ in range(2):
            await changes.next()
            seen.append(authority.pem)
        task.cancel()
    assert seen == [None, first, second]


async def test_private_files_replace_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key.pem"
    await files.write_private(path, b"one")
    before = await files.fingerprint(path)
    await files.write_private(path, b"two")
    assert await files.fingerprint(path) != before
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o600)
    assert [one.name for one in path.parent.iterdir()] == ["key.pem"]
    await files.remove(path)
    assert await files.fingerprint(path) is None
