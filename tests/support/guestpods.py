"""Pods whose containers tell a ``Post`` what they do: the same for podman in a real guest and commands on an OS."""

from typing import Any

from tests.support.bridge import Json

COUNT = "echo began; n=0; while :; do n=$((n+1)); echo $n; sleep 0.2; done"
"""Counts for ever, five lines in a second; ``keptlogs.counted`` checks them."""


def shell(name: str, script: str, **more: Any) -> Json:
    """A container that runs a script."""
    return {"name": name, "command": ["sh", "-c", script], **more}


def tell(url: str, word: str) -> str:
    """Shell: tell the post something; it may take a while to be reachable."""
    return f"until busybox wget -qO- {url}/said/{word} >/dev/null 2>&1; do sleep 0.2; done"


def wait_for(url: str, thing: str) -> str:
    """Shell: wait until the test allows something."""
    return f"until busybox wget -qO- {url}/may/{thing} >/dev/null 2>&1; do sleep 0.2; done"


def until_told(url: str, name: str) -> str:
    """Shell: run until SIGTERM, and tell that it came."""
    return f"trap '{tell(url, name + '-term')}; exit 0' TERM; while :; do sleep 0.1; done"


def whole(url: str, port: int) -> Json:
    """What a Pod can be made of: an init container, a sidecar on ``port`` of localhost, another, and two main ones.

    ``main`` is ready once the test allows it, and needs everything: a Secret's value, the volumes, its localhost.
    """
    shared = [{"name": "disk", "mountPath": "/shared"}, {"name": "memory", "mountPath": "/fast"}]
    serve = f"busybox httpd -p 127.0.0.1:{port} -h /shared"
    fetch = f"until busybox wget -qO /fast/fetched http://127.0.0.1:{port}/order; do sleep 0.2; done"
    main = "\n".join([
        tell(url, "main"), fetch, "cat /fast/fetched", 'echo "password $PASSWORD"', "grep ' /fast ' /proc/mounts",
        f"({wait_for(url, 'ready')}; touch /fast/ready) &", until_told(url, "main"),
    ])  # fmt: skip
    return {
        "initContainers": [
            shell("first", f"echo first >>/shared/order; {tell(url, 'first')}", volumeMounts=shared),
            shell(
                "sidecar",
                f"{serve}; {tell(url, 'sidecar')}; echo sidecar >>/shared/order; {until_told(url, 'sidecar')}",
                restartPolicy="Always", volumeMounts=shared,
                startupProbe={"exec": {"command": ["grep", "sidecar", "/shared/order"]}, "periodSeconds": 1,
                              "failureThreshold": 300},
            ),
            shell("second", f"echo second >>/shared/order; {tell(url, 'second')}", volumeMounts=shared),
        ],
        "containers": [
            shell(
                "main", main, volumeMounts=shared,
                env=[{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "settings", "key": "password"}}}],
                readinessProbe={"exec": {"command": ["test", "-e", "/fast/ready"]}, "periodSeconds": 1},
                lifecycle={"preStop": {"exec": {"command": ["sh", "-c", tell(url, "main-prestop")]}}},
            ),
            shell("crasher", f"echo because >$OUT; {tell(url, 'crash')}; exit 7",
                  env=[{"name": "OUT", "value": "/dev/termination-log"}]),
        ],
        "volumes": [{"name": "disk", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory"}}],
        "terminationGracePeriodSeconds": 300,
    }  # fmt: skip


ORDER = ["first", "sidecar", "second", "main"]
"""In which order they tell that they began."""

END = ["main-prestop", "main-term", "sidecar-term"]
"""In which order they tell that they end: sidecars last."""

SETTINGS = {
    "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "settings"}, "stringData": {"password": "hunter2"},
}  # fmt: skip


def named(pod: Json, name: str) -> Json:
    """The status of one container; empty before there is one."""
    statuses = [*pod["status"].get("initContainerStatuses", []), *pod["status"].get("containerStatuses", [])]
    return next((one for one in statuses if one["name"] == name), {})


def lives(pod: Json) -> dict[str, tuple[Any, ...]]:
    """What must not change while nothing is restarted: of each running container its id, its start and its count."""
    statuses = [*pod["status"].get("initContainerStatuses", []), *pod["status"].get("containerStatuses", [])]
    return {
        one["name"]: (one.get("containerID"), one["state"]["running"].get("startedAt"), one["restartCount"])
        for one in statuses
        if "running" in one.get("state", {})
    }
