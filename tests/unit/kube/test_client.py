"""What is made of an error's body and headers, and how sockets are made. The rest is tried on a real API server."""

import socket

import pytest

from kubelet_bridge.errors import ApiError, ApiUnavailable, Gone, InvalidName, TooManyRequests
from kubelet_bridge.kube.client import kept_alive, status_error
from kubelet_bridge.model.resources import NODES, PODS, SECRETS, VM_SUBRESOURCES

STATUS = b'{"kind":"Status","reason":"TooManyRequests","message":"slow down","details":{"retryAfterSeconds":%d}}'


@pytest.mark.parametrize(
    ("body", "header", "after"),
    [
        (STATUS % 5, "9", 5.0),
        (STATUS % 0, "9", 9.0),
        (b"Too many requests, please try again later.", "9", 9.0),
        (b"", "86400", 60.0),
        (b"", "Fri, 31 Dec 2027 23:59:59 GMT", 1.0),
        (b"", None, 1.0),
    ],
)
def test_when_to_come_again(body: bytes, header: str | None, after: float) -> None:
    error = status_error(429, body, header)
    assert (type(error), error.retry_after) == (TooManyRequests, after)


@pytest.mark.parametrize(
    ("status", "kind"), [(410, Gone), (500, ApiUnavailable), (503, ApiUnavailable), (302, ApiError), (418, ApiError)]
)
def test_a_proxys_answer_is_an_error_with_its_text(status: int, kind: type[ApiError]) -> None:
    error = status_error(status, b"<html>\xff no")
    assert type(error) is kind
    assert error.message == "<html>� no"


def test_paths() -> None:
    assert PODS.path() == "/api/v1/pods"
    assert PODS.path("a", "b", "status") == "/api/v1/namespaces/a/pods/b/status"
    assert NODES.path(None, "system:odd") == "/api/v1/nodes/system:odd"
    group = "/apis/subresources.kubevirt.io/v1"
    assert VM_SUBRESOURCES.path("a", "b", "stop") == f"{group}/namespaces/a/virtualmachines/b/stop"


@pytest.mark.parametrize("name", ["../../kube-system/secrets/x", "..", ".", "", "a%2fb", "a?b", "a#b", "a b", "a\x7f"])
def test_no_name_leads_to_another_path(name: str) -> None:
    with pytest.raises(InvalidName) as raised:
        SECRETS.path("default", name)
    assert repr(name) in raised.value.message


def test_a_connection_notices_a_dead_peer() -> None:
    with kept_alive((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
