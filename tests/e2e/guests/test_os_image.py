"""An OS image as its maker left it: cloud-init brings the agent, the user's keys, and the command as a unit."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kubelet_bridge.model.resources import PODS, SECRETS
from tests.e2e.guests.waiting import SECONDS, counts_beyond, gone, until, vmi_uid
from tests.support import guestpods
from tests.support.bridge import Bridge, World, condition
from tests.support.guestpods import named
from tests.support.rootshell import root_shell

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

AGENT = "kubelet-bridge.io/GuestAgentConnected"


def public_key() -> str:
    """A new SSH key's public half."""
    made = Ed25519PrivateKey.generate().public_key()
    line = made.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return f"{line.decode()} someone"


async def test_a_command_runs_on_a_cloud_image(debian: str, world: World, bridge: Bridge) -> None:
    public = public_key()
    keys = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"me": public}}
    await world.create(SECRETS, keys)
    limits = {"limits": {"cpu": "1", "memory": "512Mi"}}
    body = world.pod("unit", container=guestpods.shell("count", guestpods.COUNT, image=debian, resources=limits))
    body["metadata"]["annotations"] = {"kubelet-bridge.io/ssh-keys": "keys"}
    made = await world.create(PODS, body)
    uid = made["metadata"]["uid"]
    reached = await counts_beyond(world, uid, 3)
    running = await until(world, "unit", lambda pod: condition(pod, "Ready") == "True", "ready")
    assert condition(running, AGENT) == "True"
    before = guestpods.lives(running)

    async with root_shell(bridge.cluster, await vmi_uid(world, "unit")) as shell:
        code, authorized = await shell("cat /home/*/.ssh/authorized_keys")
        assert (code, authorized.count(public)) == (0, 1), authorized
        code, agent = await shell("systemctl show -p MainPID --value kubelet-bridge-agent")
        assert int(agent)
        code, said = await shell(f"kill -9 {agent.strip()}")
        assert code == 0, said
    await counts_beyond(world, uid, reached + 20)
    after = await until(world, "unit", lambda pod: condition(pod, AGENT) == "True", "the agent back")
    assert guestpods.lives(after) == before
    assert named(after, "count")["restartCount"] == 0

    await world.client.delete(PODS, world.namespace, "unit")
    await world.gone(PODS, "unit", seconds=SECONDS)
    await gone(world, made)
