"""What podman is asked to make."""

from __future__ import annotations

from typing import Any

import pytest

from kubelet_bridge.agent.driver import RunError
from kubelet_bridge.agent.podman import spec
from kubelet_bridge.agent.v1 import agent_pb2 as pb

PLACES = spec.Places(["/v/data/sub"], ["/dev/vdb"], "/s/hosts", "/s/msg", "/s/logs/a/0.log", "/kubelet-bridge/a-0")
POD = pb.PodManifest(pod_uid="u", pod_name="web", pod_namespace="shop", hostname="web-0", boot="b")


def made(
    container: pb.Container, pod: pb.PodManifest = POD, *, image_user: str = "", target: str = ""
) -> dict[str, Any]:
    return spec.spec(pod, container, "a-0-b", "localhost/a:1", image_user, PLACES, {"l": "v"}, target, 2**30)


def test_whole_request() -> None:
    container = pb.Container(
        name="a",
        image="localhost/a:1",
        command=["sh"],
        args=["-c", "true"],
        working_dir="/w",
        env=[pb.EnvVar(name="A", value="1")],
        mounts=[pb.Mount(volume="data", path="/data", sub_path="sub", read_only=True)],
        devices=[pb.Device(volume="raw", path="/dev/xvda")],
        resources=pb.Resources(
            cpu_request_millis=250, cpu_limit_millis=500, memory_request_bytes=2**20, memory_limit_bytes=2**21
        ),
        security=pb.Security(
            run_as_user=5, read_only_root_filesystem=True, add_capabilities=["NET_ADMIN"], drop_capabilities=["ALL"]
        ),
        termination_message_path="/dev/termination-log",
        stop_signal="SIGQUIT",
    )
    assert made(container) == {
        "name": "a-0-b",
        "image": "localhost/a:1",
        "labels": {"l": "v"},
        "env": {"HOSTNAME": "web-0", "A": "1"},
        "httpproxy": False,
        "netns": {"nsmode": "host"},
        "ipcns": {"nsmode": "host"},
        "utsns": {"nsmode": "host"},
        "cgroupns": {"nsmode": "private"},
        "pidns": {"nsmode": "private"},
        "mounts": [
            {"type": "bind", "source": "/v/data/sub", "destination": "/data", "options": ["rbind", "rprivate", "ro"]},
            {"type": "bind", "source": "/s/hosts", "destination": "/etc/hosts", "options": ["rbind", "rprivate", "rw"]},
            {
                "type": "bind",
                "source": "/s/msg",
                "destination": "/dev/termination-log",
                "options": ["rbind", "rprivate", "rw"],
            },
        ],
        "devices": [{"path": "/dev/vdb:/dev/xvda"}],
        "log_configuration": {"driver": "k8s-file", "path": "/s/logs/a/0.log", "size": spec.LOG_BYTES},
        "cgroup_parent": "/kubelet-bridge/a-0",
        "resource_limits": {
            "cpu": {"shares": 256, "period": 100000, "quota": 50000},
            "memory": {"limit": 2**21, "swap": 2**21},
        },
        "unified": {"memory.oom.group": "1"},
        "oom_score_adj": 999,
        "stdin": False,
        "terminal": False,
        "privileged": False,
        "read_only_filesystem": True,
        "no_new_privileges": False,
        "cap_add": ["CAP_NET_ADMIN"],
        "cap_drop": ["ALL"],
        "groups": [],
        "systemd": "false",
        "sdnotifyMode": "ignore",
        "image_volume_mode": "anonymous",
        "user": "5",
        "entrypoint": ["sh"],
        "command": ["-c", "true"],
        "work_dir": "/w",
        "stop_signal": 3,
    }


def test_what_is_not_asked_for_is_the_images() -> None:
    request = made(pb.Container(name="a", image="localhost/a:1"))
    assert not {"user", "entrypoint", "command", "work_dir", "stop_signal"} & set(request)
    assert request["oom_score_adj"] == 1000


def test_processes_are_shared_with_the_machine_or_a_target() -> None:
    assert made(pb.Container(), target="id")["pidns"] == {"nsmode": "container", "value": "id"}
    shared = pb.PodManifest(share_process_namespace=True)
    assert made(pb.Container(), shared)["pidns"] == {"nsmode": "host"}


@pytest.mark.parametrize(
    ("pod", "own", "image", "user"),
    [
        ({}, {}, "", None),
        ({"run_as_user": 1}, {}, "", "1"),
        ({"run_as_user": 1}, {"run_as_user": 2}, "", "2"),
        ({"run_as_group": 7}, {}, "web", "web:7"),
        ({"run_as_group": 7}, {}, "", "0:7"),
        ({"run_as_non_root": True}, {"run_as_user": 9}, "", "9"),
        ({"run_as_non_root": True}, {}, "1000:1000", None),
        ({"run_as_non_root": True}, {"run_as_non_root": False}, "root", None),
    ],
)
def test_user(pod: dict[str, Any], own: dict[str, Any], image: str, user: str | None) -> None:
    manifest = pb.PodManifest(security=pb.PodSecurity(**pod))
    request = made(pb.Container(name="a", security=pb.Security(**own)), manifest, image_user=image)
    assert request.get("user") == user


@pytest.mark.parametrize(
    ("own", "image", "message"),
    [
        ({}, "", "container has runAsNonRoot and image will run as root"),
        ({}, "0:5", "container has runAsNonRoot and image will run as root"),
        ({}, "www", "container has runAsNonRoot and image has non-numeric user (www), cannot verify user is non-root"),
        ({"run_as_user": 0}, "", "container's runAsUser breaks non-root policy"),
    ],
)
def test_root_is_refused_in_the_kubelets_words(own: dict[str, Any], image: str, message: str) -> None:
    container = pb.Container(name="a", security=pb.Security(run_as_non_root=True, **own))
    with pytest.raises(RunError) as caught:
        made(container, image_user=image)
    assert caught.value.reason == "CreateContainerConfigError"
    assert caught.value.message == f'{message} (pod: "web_shop(u)", container: a)'


def test_unknown_signal_is_refused() -> None:
    with pytest.raises(RunError, match="there is no signal SIGNOPE"):
        made(pb.Container(stop_signal="SIGNOPE"))


@pytest.mark.parametrize(
    ("resources", "score"),
    [
        ({}, 1000),
        ({"memory_request_bytes": 2**29}, 500),
        ({"memory_limit_bytes": 2**20, "cpu_limit_millis": 100}, -997),
        (
            {
                "memory_limit_bytes": 2**20,
                "memory_request_bytes": 2**20,
                "cpu_limit_millis": 9,
                "cpu_request_millis": 9,
            },
            -997,
        ),
        ({"memory_limit_bytes": 2**20, "cpu_limit_millis": 9, "cpu_request_millis": 3}, 999),
        ({"memory_request_bytes": 2**31}, 3),
    ],
)
def test_oom_score(resources: dict[str, int], score: int) -> None:
    assert spec.oom_score(pb.Resources(**resources), 2**30) == score


def test_hosts_file_has_the_machines_lines_the_pods_name_and_aliases() -> None:
    pod = pb.PodManifest(
        pod_ip="10.0.0.9", hostname="web-0", host_aliases=[pb.HostAlias(ip="1.2.3.4", hostnames=["a", "b"])]
    )
    text = spec.hosts_file(pod, "127.0.0.1\tlocalhost\n")
    assert text.splitlines()[1:] == [
        "127.0.0.1\tlocalhost",
        "10.0.0.9\tweb-0",
        "",
        "# Entries added by HostAliases.",
        "1.2.3.4\ta\tb",
    ]
