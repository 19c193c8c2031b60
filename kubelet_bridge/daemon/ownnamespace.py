"""The namespace of the node's own objects."""

from kubelet_bridge.aio import files
from kubelet_bridge.kube.credentials import SERVICE_ACCOUNT
from kubelet_bridge.settings import Settings


async def own_namespace(settings: Settings) -> str:
    """As it is set, else that of the Pod we are, outside a cluster kube-system."""
    if settings.namespace:
        return settings.namespace
    try:
        return (await files.read(SERVICE_ACCOUNT / "namespace")).decode().strip() or "kube-system"
    except OSError:
        return "kube-system"
