"""Manifests from the cluster: what is not there is said on the Pod, and changes nothing of what runs."""

from collections.abc import Iterable

import msgspec

from kubelet_bridge.errors import Forbidden
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.guest import Guest
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.snapshot import PodEvent, TokenWanted
from kubelet_bridge.reconcile.attendance import Attendance
from kubelet_bridge.reconcile.manifests import ManifestMaker
from tests.properties.simulation import Cluster, Crasher, Ports, process
from tests.support.pods import GUESTS

TOKEN = {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
SECRET = {"name": "s", "secret": {"secretName": "absent"}}
KEY = PodKey("n", "web", "u1")


class Guarded(Ports):
    """A cluster that gives no tokens to anybody."""

    said: list[str]

    async def service_account_token(self, pod: Pod, wanted: TokenWanted) -> str | None:
        raise Forbidden(403, "Forbidden", "serviceaccounts/token is forbidden")

    def record(self, key: PodKey, events: Iterable[PodEvent]) -> None:
        self.said += [one.message for one in events]


class Listening:
    """Guests that only write down what they are told."""

    def __init__(self) -> None:
        self.expected: list[str] = []
        self.refreshed = 0

    def get(self, uid: str) -> Guest | None:
        return None

    def expect(self, key: PodKey, *, boot: str) -> None:
        self.expected.append(boot)

    def refresh(self, key: PodKey) -> None:
        self.refreshed += 1

    def shut_down(self, uid: str, *, grace: int, reason: str) -> None:
        pass

    async def forget(self, uid: str) -> None:
        pass


async def settled(rows: dict[str, Intent], volumes: list[dict[str, object]]) -> Guarded:
    """A Pod whose VM runs."""
    cluster = Cluster()
    cluster.add_pod("web", "u1")
    loop = process(cluster, rows, Crasher(), config=GUESTS)
    for _ in range(5):
        await loop.sync(KEY)
        cluster.advance()
    await loop.sync(KEY)
    cluster.pods["web"]["spec"]["volumes"] = volumes
    ports = Guarded(cluster, rows, Crasher())
    ports.said = []
    return ports


async def test_a_token_that_is_not_given_is_left_out_and_said() -> None:
    ports = await settled({}, [TOKEN])
    made = await ManifestMaker(ports, ports, ports, GUESTS, host_ip="192.0.2.1").make(KEY)
    assert made is not None
    assert list(made.volumes[0].files.files) == []
    assert "serviceaccounts/token is forbidden" in ports.said[0]


async def test_a_missing_secret_makes_no_manifest_and_is_said() -> None:
    ports = await settled({}, [SECRET])
    assert await ManifestMaker(ports, ports, ports, GUESTS, host_ip="192.0.2.1").make(KEY) is None
    assert 'secret "absent" not found' in ports.said[0]


async def test_nobody_has_a_manifest_who_was_not_accepted() -> None:
    ports = await settled({}, [])
    ports.rows.clear()
    assert await ManifestMaker(ports, ports, ports, GUESTS, host_ip="192.0.2.1").make(KEY) is None


async def test_a_manifest_is_asked_for_again_only_when_something_of_it_changed() -> None:
    ports = await settled({}, [])
    guests = Listening()
    attendance = Attendance(guests)
    for generation in (1, 1, 2):
        ports.cluster.pods["web"]["metadata"]["generation"] = generation
        found = await ports.load(KEY, vm_name="web", promised=True)
        attendance.attend(msgspec.structs.replace(found, intent=ports.rows["u1"]))
    assert set(guests.expected) == {"vmi-1"}
    assert guests.refreshed == 2
