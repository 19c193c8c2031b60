"""What this package needs of the outside: a few verbs on our Node and its Lease. ``kube.nodes`` has them.

Objects are JSON bytes as the API server has them; what is sent is anything that encodes to JSON. Every verb raises
``errors.ApiError``.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

Clock = Callable[[], datetime]
Status = Callable[[datetime], dict[str, Any]]
"""The Node's ``status`` without its Ready condition; times of conditions are filled in here."""


def utc_now() -> datetime:
    """The time of day."""
    return datetime.now(UTC)


class ReadyState(msgspec.Struct, frozen=True):
    """Whether the Node takes Pods, as its Ready condition says it."""

    ready: bool
    reason: str
    message: str


Ready = Callable[[], ReadyState]
"""Whether the Node takes Pods now."""


class NodeApi(Protocol):
    """The Node of our name."""

    async def get_node(self) -> bytes:
        """The Node; ``NotFound`` when there is none."""

    async def create_node(self, node: object) -> bytes:
        """A new Node, with its status; ``AlreadyExists``."""

    async def patch_node(self, patch: object) -> bytes:
        """Strategic merge patch of metadata and spec."""

    async def patch_node_status(self, patch: object) -> bytes:
        """Strategic merge patch of the status."""


class LeaseApi(Protocol):
    """The Lease of our Node, in kube-node-lease."""

    async def get_lease(self) -> bytes:
        """The Lease; ``NotFound`` when there is none."""

    async def create_lease(self, lease: object) -> bytes:
        """A new Lease; ``AlreadyExists``."""

    async def replace_lease(self, lease: object) -> bytes:
        """The Lease, if its resourceVersion is still the one given; else ``Conflict``."""
