from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubelet_bridge.guest.limits import SessionLimits
from tests.support.guests import MemoryRecords, Node


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A guest server that serves, with records in memory."""
    async with Node(tmp_path, MemoryRecords(), SessionLimits()).serving() as serving:
        yield serving
