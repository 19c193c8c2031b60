"""Image names, ids and credentials, as Kubernetes has them."""

from __future__ import annotations

import base64

import pytest

from kubelet_bridge.agent.podman import references
from kubelet_bridge.agent.v1 import agent_pb2 as pb

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("grafana/grafana", "docker.io/grafana/grafana:latest"),
        ("docker.io/nginx", "docker.io/nginx:latest"),
        ("localhost/bb:1", "localhost/bb:1"),
        ("quay.io/a/b/c", "quay.io/a/b/c:latest"),
        ("10.0.0.1:5000/x:y", "10.0.0.1:5000/x:y"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}"),
        (f"ghcr.io/a/b:1@{DIGEST}", f"ghcr.io/a/b@{DIGEST}"),
    ],
)
def test_full_name(image: str, full: str) -> None:
    assert references.full_name(image) == full


@pytest.mark.parametrize("image", ["", "Nginx", "a//b", "a:b:c/", "a@sha256:12", "a b", "a:é", "-a"])
def test_invalid_names_are_refused_in_the_kubelets_words(image: str) -> None:
    with pytest.raises(references.InvalidReference, match="invalid reference format"):
        references.full_name(image)


def test_image_id_is_the_digest_under_the_name_that_was_asked_for() -> None:
    inspected = {"Id": "b" * 64, "RepoDigests": ["mirror/x@sha256:1", "docker.io/library/nginx@sha256:2"]}
    assert references.image_id("docker.io/library/nginx:latest", inspected) == "docker.io/library/nginx@sha256:2"
    assert references.image_id("localhost/x:1", {"Id": "b" * 64, "RepoDigests": []}) == "sha256:" + "b" * 64


def test_credentials_are_keyed_as_podman_looks_them_up() -> None:
    credentials = [
        pb.PullCredential(registry="https://index.docker.io/v1/", username="u", password="p"),
        pb.PullCredential(registry="quay.io/team", username="t", password="q"),
        pb.PullCredential(registry="*.example.com", identity_token="id"),
    ]
    auths = references.auth_file(credentials, ["eu.example.com/a", "us.example.com:1/b", "nginx", "Not An Image"])[
        "auths"
    ]
    assert set(auths) == {"docker.io", "quay.io/team", "eu.example.com"}
    assert base64.b64decode(auths["docker.io"]["auth"]) == b"u:p"
    assert auths["eu.example.com"]["identitytoken"] == "id"
