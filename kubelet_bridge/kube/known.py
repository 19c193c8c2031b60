"""Writes that are meant for one object and no other of its name."""

from typing import Any

from kubelet_bridge.errors import Conflict, Invalid, NotFound
from kubelet_bridge.kube.client import Client, PatchType
from kubelet_bridge.model.resources import Resource


async def patch_known(
    client: Client, resource: Resource, namespace: str | None, name: str, body: dict[str, Any], *,
    kind: PatchType = PatchType.MERGE, subresource: str | None = None,
) -> bytes | None:  # fmt: skip
    """Patch the object whose ``metadata.uid``, and ``resourceVersion`` where it is given, are those in ``body``.

    Returns:
        The answer; None when the object is another one (answered with 422: a uid is immutable), or not as we know it,
        or gone.

    Raises:
        ApiError: anything else.
    """
    try:
        return await client.patch(resource, namespace, name, body, kind=kind, subresource=subresource)
    except (NotFound, Conflict):
        return None
    except Invalid as error:
        if "metadata.uid" in error.message:
            return None
        raise
