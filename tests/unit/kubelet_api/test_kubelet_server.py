"""What the kubelet API and the admin port answer."""

import aiohttp
import msgspec
import pytest

from kubelet_bridge.errors import SettingsError
from kubelet_bridge.kubelet_api import exposition, health
from kubelet_bridge.kubelet_api.admin import AdminServer
from tests.support.kubelet_endpoint import FULL, NOTHING, Serving, raw, scrape


async def test_pod_lists_carry_the_bytes_they_were_given(serving: Serving) -> None:
    async with serving() as world, world.client() as session:
        async with session.get(world.url("/pods"), headers={"Authorization": f"Bearer {FULL}"}) as response:
            assert response.content_type == "application/json"
            body = await response.read()
        assert body == (
            b'{"kind":"PodList","apiVersion":"v1","metadata":{},"items":'
            b'[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}]}'
        )
        world.assigned.clear()
        _, running = await world.get("/runningpods/", token=FULL)
        assert msgspec.json.decode(running)["items"] == []


async def test_what_is_not_served_is_said_in_a_kubelets_words(serving: Serving) -> None:
    async with serving() as world:
        for method, path in (("GET", "/logs/"), ("GET", "/logs/messages"), ("POST", "/logs")):
            assert await world.ask(method, path, token=FULL) == (405, "logs endpoint is disabled.\n")
        assert await world.ask("POST", "/checkpoint/ns/pod/c", token=FULL) == (
            404, "checkpointing of ns/pod/c failed (a container in a virtual machine has no checkpoints)\n",
        )  # fmt: skip
        status, body = await world.get("/configz", token=FULL)
        assert (status, msgspec.json.decode(body)) == (200, {"kubeletconfig": {"port": world.port}})


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "POST"])
async def test_a_method_that_a_path_does_not_have_is_told_those_it_has(serving: Serving, method: str) -> None:
    async with serving() as world, world.client() as session:
        headers = {"Authorization": f"Bearer {FULL}"}
        async with session.request(method, world.url("/pods"), headers=headers) as response:
            assert (response.status, response.headers["Allow"]) == (405, "GET")
            assert await response.text() == ("" if method == "HEAD" else "405: Method Not Allowed\n")
        async with session.request(method, world.url("/exec/ns/pod/c"), headers=headers) as response:
            assert response.status == (501 if method == "POST" else 405)
            assert response.headers.get("Allow", "GET,POST").replace(" ", "") == "GET,POST"


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET https://elsewhere.example/healthz HTTP/1.1", 200),
        ("GET https://elsewhere.example/exec/ns/pod/c HTTP/1.1", 501),
        ("GET /healthz HTTP/1.0", 200),
        ("GET https://xn--a/healthz HTTP/1.1", 200),
        ("GET https://%ff%00/healthz HTTP/1.1", 200),
        ("CONNECT xn--a:443 HTTP/1.1", 404),
        ("OPTIONS * HTTP/1.1", 404),
        ("CONNECT 127.0.0.1:22 HTTP/1.1", 404),
        ("GET //127.0.0.1/healthz HTTP/1.1", 404),
        ("GET /healthz HTTP/3.7", 400),
        ("GET healthz HTTP/1.1", 400),
        ("GET /healthz\x00 HTTP/1.1", 400),
        ("BREW /healthz HTTP/1.1", 400),
    ],
)  # fmt: skip
async def test_request_lines_that_no_client_of_ours_sends(serving: Serving, request_line: str, status: int) -> None:
    """Served as what they name, or refused; never an error of ours, and never without asking who it is."""
    async with serving() as world:
        for token, expected in ((FULL, status), ("invented", 400 if status == 400 else 401)):
            async with raw(world) as (reader, writer):
                head = f"{request_line}\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
                writer.write(head.encode())
                line = await reader.readline()
                assert int(line.split()[1]) == expected, (token, line)


async def test_a_token_that_is_not_text_is_nobodys(serving: Serving) -> None:
    async with serving() as world, raw(world) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")
        assert int((await reader.readline()).split()[1]) == 401


async def test_health_names_what_fails(serving: Serving) -> None:
    async with serving() as world:
        world.unhealthy = "no sync for 5 minutes"
        assert await world.get("/healthz", token=FULL) == (
            500, "[+]ping ok\n[-]syncloop failed: no sync for 5 minutes\nhealthz check failed\n",
        )  # fmt: skip
        assert await world.get("/healthz/ping", token=FULL) == (200, "ok")
        assert (await world.get("/healthz/syncloop", token=FULL))[0] == 500
        assert (await world.get("/healthz/other", token=FULL))[0] == 404
        assert (await world.get("/healthz?exclude=syncloop", token=FULL)) == (200, "ok")
        world.unhealthy = None
        assert await world.get("/healthz?verbose", token=FULL) == (
            200,
            "[+]ping ok\n[+]syncloop ok\nhealthz check passed\n",
        )


async def test_errors_are_plain_text(serving: Serving) -> None:
    async with serving() as world:
        assert await world.get("/test/fails/transient", token=FULL) == (503, "the API server is away\n")
        assert await world.get("/test/fails/missing", token=FULL) == (404, "no such pod\n")
        assert await world.get("/test/fails/terminal", token=FULL) == (500, "cannot be\n")
        assert (await world.get("/test/fails/bug", token=FULL))[0] == 500
        assert (await world.get("/nothing", token=FULL)) == (404, "404 page not found\n")
        assert (await world.ask("DELETE", "/pods", token=FULL)) == (405, "405: Method Not Allowed\n")
        status, text = await world.ask("POST", "/exec/ns/pod/c?command=ls", token=FULL)
        assert (status, text) == (501, "there are no guests\n")
        assert await world.get("/pods") == (401, "Unauthorized\n")
        assert await world.get("/pods", token=NOTHING) == (
            403, "Forbidden (user=nothing, verb=get, resource=nodes, subresource(s)=[pods proxy])\n",
        )  # fmt: skip
    assert ("/test/fails/{how}", "GET", 503) in world.seen
    assert ("none", "GET", 404) in world.seen
    assert ("/pods", "GET", 401) in world.seen


async def test_any_host_is_served(serving: Serving) -> None:
    async with serving() as world, world.client() as session:
        headers = {"Authorization": f"Bearer {FULL}", "Host": "kubernetes.default.svc"}
        async with session.get(world.url("/healthz"), headers=headers) as response:
            assert response.status == 200


async def test_a_port_that_is_taken_is_a_settings_error(serving: Serving) -> None:
    async with serving() as world:
        with pytest.raises(SettingsError, match="cannot listen"):
            async with AdminServer("127.0.0.1", world.port, []):
                pass
    with pytest.raises(SettingsError, match="not an IP address"):
        async with AdminServer("localhost", 0, []):
            pass


async def test_the_admin_port_is_plain_http_for_metrics_and_health() -> None:
    routes = [
        *exposition.routes("/metrics", scrape),
        *health.routes("/livez", {}),
        *health.routes("/readyz", {"a": lambda: "no"}),
    ]
    async with (
        AdminServer("127.0.0.1", 0, routes) as admin,
        aiohttp.ClientSession(f"http://127.0.0.1:{admin.port}") as http,
    ):
        found = {}
        for path in ("/metrics", "/livez", "/readyz", "/pods"):
            async with http.get(path) as response:
                found[path] = (response.status, await response.text())
    assert found == {
        "/metrics": (200, "up 1\n"),
        "/livez": (200, "ok"),
        "/readyz": (500, "[-]a failed: no\nreadyz check failed\n"),
        "/pods": (404, "404: Not Found"),
    }
