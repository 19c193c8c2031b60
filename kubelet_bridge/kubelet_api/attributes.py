"""What a request to the kubelet API asks for, in RBAC's words. The table is the whole policy.

As pkg/kubelet/server/auth.go (Kubernetes 1.36), with one difference: what runs in or reaches into a container asks for
``create`` whatever the HTTP method, because a WebSocket upgrade is a GET, and ``get nodes/proxy`` is often given for
reading.
"""

from kubelet_bridge.model.access import Attributes

_VERBS = {"POST": "create", "GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}

SUBRESOURCES: dict[str, tuple[str, ...]] = {
    "/pods": ("pods", "proxy"),
    "/runningpods": ("pods", "proxy"),
    "/healthz": ("healthz", "proxy"),
    "/configz": ("configz", "proxy"),
    "/stats": ("stats",),
    "/metrics": ("metrics",),
    "/logs": ("log",),
    "/checkpoint": ("checkpoint",),
    "/statusz": ("statusz",),
    "/flagz": ("configz",),
}
"""First segment of the path → subresources of ``nodes``, any of which is enough. Every other path: ``proxy``."""

ACTS = frozenset({"/exec", "/attach", "/portForward", "/run"})
"""First segments whose every method is a ``create``."""

VM_ACTS = frozenset({"console", "vnc"})
"""Last segments under ``/vms`` whose every method is a ``create``; to read there is ``get nodes/proxy``."""


def attributes(method: str, path: str) -> list[Attributes]:
    """The alternatives, in the order to try them; never empty. ``path`` is the route's, not what the client spelled."""
    segment = "/" + path.lstrip("/").partition("/")[0]
    verb = "create" if _reaches_in(segment, path) else _VERBS.get(method.upper(), method.lower())
    return [Attributes(verb, subresource) for subresource in SUBRESOURCES.get(segment, ("proxy",))]


def _reaches_in(segment: str, path: str) -> bool:
    return segment in ACTS or (segment == "/vms" and path.rstrip("/").rpartition("/")[2] in VM_ACTS)
