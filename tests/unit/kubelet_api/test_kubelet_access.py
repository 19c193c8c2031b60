"""Who gets into the kubelet API, and who does not."""

import asyncio
import contextlib
import socket
from datetime import timedelta

import aiohttp
import msgspec
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from kubelet_bridge.kubelet_api.connections import Limits
from kubelet_bridge.model.access import User
from tests.support.authority import Authority
from tests.support.kubelet_endpoint import FULL, NOTHING, STATS, Serving, World


async def test_a_certificate_of_the_clusters_authority_is_known(serving: Serving) -> None:
    async with serving() as world:
        status, body = await world.get("/test/whoami", certificate=world.certificate("apiserver", "system:masters"))
        user = msgspec.json.decode(body, type=User)
        assert (status, user) == (200, User(name="apiserver", groups=("system:masters", "system:authenticated")))


async def test_a_token_is_as_good_and_needs_no_certificate(serving: Serving) -> None:
    async with serving() as world:
        assert (await world.get("/healthz", token=FULL)) == (200, "ok")


PATHS = {
    "/healthz": (200, 403),
    "/healthz/ping": (200, 403),
    "/pods": (200, 403),
    "/pods/": (200, 403),
    "/runningpods/": (200, 403),
    "/metrics": (200, 403),
    "/stats/summary": (200, 200),
    "/metrics/resource": (200, 403),
    "/configz": (200, 403),
    "/configz/x": (404, 403),
    "/logs": (405, 403),
    "/logs/": (405, 403),
    "/logs/../logs/messages": (405, 403),
    "/statusz": (404, 403),
    "/flagz": (404, 403),
    "/debug/pprof/": (404, 403),
    "/debug/flags/v": (404, 403),
    "/exec/ns/pod/c": (501, 403),
    "/exec/ns/pod/uid/c": (501, 403),
    "/attach/ns/pod/c": (501, 403),
    "/portForward/ns/pod": (501, 403),
    "/nothing": (404, 403),
    "/": (404, 403),
    "/pods/../exec/ns/pod/c": (501, 403),
    "/%65xec/ns/pod/c": (501, 403),
    "/stats/../exec/ns/pod/c": (501, 403),
    "/stats/summary/../../exec/ns/pod/c": (501, 403),
    "//exec/ns/pod/c": (404, 403),
    "/stats%2f..%2fexec/ns/pod/c": (404, 403),
    "/stats/%2e%2e/exec/ns/pod/c": (501, 403),
    "/stats/summary/exec/ns/pod/c": (404, 403),
    "/stats/summary;/exec": (404, 403),
    "/stats/summary?/../../exec/ns/pod/c": (200, 200),
    "/STATS/summary": (404, 403),
    "/Exec/ns/pod/c": (404, 403),
    "/exec/ns/pod/c/": (501, 403),
    "/exec/ns//c": (404, 403),
}
"""Path → status with all rights, and with the right to ``get nodes/stats`` only."""


async def test_who_may_what(serving: Serving) -> None:
    """Each path with: anonymous, unknown token, no rights, rights to stats only, full rights."""
    async with serving() as world:
        found = {
            path: tuple([(await world.get(path, token=token))[0] for token in (None, "invented", NOTHING, STATS, FULL)])
            for path in PATHS
        }
    assert found == {path: (401, 401, 403, stats, full) for path, (full, stats) in PATHS.items()}


@pytest.mark.parametrize("bad", ["unknown authority", "ended", "a server's"])
async def test_a_certificate_that_cannot_be_verified_does_not_get_in(serving: Serving, bad: str) -> None:
    async with serving() as world:
        match bad:
            case "unknown authority":
                path = Authority("client-ca").client(world.directory, "apiserver", "system:masters")
            case "ended":
                path = world.clients.client(world.directory, "apiserver", "system:masters", ends=-timedelta(minutes=1))
            case _:
                path = world.clients.client(world.directory, "apiserver", usage=ExtendedKeyUsageOID.SERVER_AUTH)
        with pytest.raises(aiohttp.ClientError):
            await world.get("/healthz", certificate=path)
        assert await world.get("/healthz", certificate=world.certificate()) == (200, "ok")


async def test_an_authority_that_another_has_signed_is_believed_by_itself(serving: Serving) -> None:
    """As with kubeadm and an authority from outside: the root is not in ``client-ca-file``."""
    root = Authority("root")
    async with serving() as world:
        world.clients = Authority("client-ca", signed_by=root)
        await until_it_is_believed(world)
        with pytest.raises(aiohttp.ClientError):
            await world.get("/healthz", certificate=root.client(world.directory, "apiserver"))


async def test_without_a_clients_authority_only_tokens_work(serving: Serving) -> None:
    async with serving(with_ca=False) as world:
        assert (await world.get("/healthz", certificate=world.certificate()))[0] == 401
        assert (await world.get("/healthz", token=FULL))[0] == 200


async def test_when_the_api_server_is_away_the_unknown_are_refused_and_the_known_served(serving: Serving) -> None:
    async with serving() as world:
        assert (await world.get("/pods", token=FULL))[0] == 200
        world.down = True
        assert (await world.get("/pods", token=FULL))[0] == 200
        status, text = await world.get("/pods", token=STATS)
        assert (status, text) == (503, "the API server cannot be asked whose token this is\n")
        status, text = await world.get("/healthz", certificate=world.certificate())
        assert (status, "may get nodes/healthz" in text) == (503, True)


async def until_it_is_believed(world: World) -> None:
    """The authority that ``world.clients`` is now."""
    certificate, status = world.certificate(), 0
    async with asyncio.timeout(10):
        while status != 200:
            await asyncio.sleep(0.01)
            with contextlib.suppress(aiohttp.ClientError):
                status, _ = await world.get("/healthz", certificate=certificate)


async def test_a_new_authority_ends_the_trust_in_the_old(serving: Serving) -> None:
    async with serving() as world, world.client(world.certificate()) as old:
        async with old.get(world.url("/healthz")) as response:
            assert response.status == 200
        world.clients = Authority("new client-ca")
        await until_it_is_believed(world)
        with pytest.raises(aiohttp.ClientError):
            async with old.get(world.url("/healthz")):
                pass


async def test_a_handshake_that_began_before_a_new_authority_comes_to_nothing(serving: Serving) -> None:
    """It is judged by the former authority, and nobody would look again."""
    async with serving(Limits(first_request=3600.0)) as world:
        assert world.server is not None
        begun = socket.create_connection(("127.0.0.1", world.port))
        begun.setblocking(False)
        await world.connections(1)
        world.server.close_idle()
        context = world.authority.client_context(world.certificate())
        reader, writer = await asyncio.open_connection(sock=begun, ssl=context, server_hostname="127.0.0.1")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        assert await world.get("/healthz", certificate=world.certificate()) == (200, "ok")


async def test_a_request_that_is_being_served_survives_a_new_authority_and_is_the_last(serving: Serving) -> None:
    async with serving() as world, world.client() as session:
        assert world.server is not None
        request = session.get(world.url("/test/slow"), headers={"Authorization": f"Bearer {FULL}"})
        async with asyncio.TaskGroup() as group:
            task = group.create_task(request.__aenter__())
            await world.started.wait()
            world.server.close_idle()
            world.release.set()
        response = task.result()
        assert (response.status, response.headers["Connection"]) == (200, "close")
        await request.__aexit__(None, None, None)
