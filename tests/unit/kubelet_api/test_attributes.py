import pytest

from kubelet_bridge.kubelet_api.attributes import attributes


def asked(method: str, path: str) -> list[str]:
    return [f"{one.verb} {one.subresource}" for one in attributes(method, path)]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/pods", ["get pods", "get proxy"]),
        ("GET", "/pods/", ["get pods", "get proxy"]),
        ("GET", "/runningpods/", ["get pods", "get proxy"]),
        ("GET", "/healthz", ["get healthz", "get proxy"]),
        ("GET", "/healthz/syncloop", ["get healthz", "get proxy"]),
        ("GET", "/configz", ["get configz", "get proxy"]),
        ("GET", "/stats/summary", ["get stats"]),
        ("POST", "/stats/summary", ["create stats"]),
        ("GET", "/metrics", ["get metrics"]),
        ("GET", "/metrics/resource", ["get metrics"]),
        ("GET", "/metrics/cadvisor", ["get metrics"]),
        ("GET", "/logs/", ["get log"]),
        ("GET", "/logs/syslog", ["get log"]),
        ("POST", "/checkpoint/ns/pod/c", ["create checkpoint"]),
        ("GET", "/statusz", ["get statusz"]),
        ("GET", "/flagz", ["get configz"]),
        ("GET", "/containerLogs/ns/pod/c", ["get proxy"]),
        ("PUT", "/anything", ["update proxy"]),
        ("PATCH", "/anything", ["patch proxy"]),
        ("DELETE", "/anything", ["delete proxy"]),
        ("GET", "/", ["get proxy"]),
        ("GET", "/vms", ["get proxy"]),
        ("GET", "/vms/{id}", ["get proxy"]),
        ("GET", "/vms/{id}/history", ["get proxy"]),
        ("GET", "/vms/by-name/{namespace}/{name}/guest", ["get proxy"]),
        ("GET", "/console", ["get proxy"]),
        ("GET", "/pods/vnc", ["get pods", "get proxy"]),
        ("HEAD", "/pods", ["head pods", "head proxy"]),
    ],
)
def test_as_a_kubelet_asks(method: str, path: str, expected: list[str]) -> None:
    assert asked(method, path) == expected


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "HEAD", "OPTIONS"])
@pytest.mark.parametrize(
    "path",
    [
        "/exec/ns/pod/c", "/attach/ns/pod/uid/c", "/portForward/ns/pod", "/run/ns/pod/c", "/exec",
        "/vms/{id}/console", "/vms/{id}/vnc/", "/vms/by-name/{namespace}/{name}/vnc",
    ],
)  # fmt: skip
def test_what_reaches_into_a_container_is_a_create_whatever_the_method(method: str, path: str) -> None:
    assert asked(method, path) == ["create proxy"]


@pytest.mark.parametrize("path", ["/podsx", "/statsummary", "/metrics2/x", "/healthzz", "/Pods", "/EXEC/ns/pod/c"])
def test_a_path_that_only_begins_alike_is_another(path: str) -> None:
    assert asked("GET", path) == ["get proxy"]
