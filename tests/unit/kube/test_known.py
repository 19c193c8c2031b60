"""A patch for one object and no other: what is another's, changed or gone is left alone; trouble is told."""

from typing import Any, cast

import pytest

from kubelet_bridge.errors import ApiError, Conflict, Forbidden, Invalid, NotFound
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.known import patch_known
from kubelet_bridge.model.resources import PODS

ANOTHER = Invalid(422, "Invalid", 'Pod "web" is invalid: metadata.uid: Invalid value: "u-2": field is immutable')


class Api:
    """Answers every patch in the same way."""

    def __init__(self, answer: bytes | ApiError) -> None:
        self._answer = answer

    async def patch(self, *_: Any, **__: Any) -> bytes:
        if isinstance(self._answer, ApiError):
            raise self._answer
        return self._answer


async def _patch(answer: bytes | ApiError) -> bytes | None:
    return await patch_known(cast(Client, Api(answer)), PODS, "shop", "web", {"metadata": {"uid": "u-1"}})


async def test_the_one_that_is_meant() -> None:
    assert await _patch(b"{}") == b"{}"


@pytest.mark.parametrize("error", [ANOTHER, Conflict(409, "Conflict", ""), NotFound(404, "NotFound", "")])
async def test_another_or_none_is_left_alone(error: ApiError) -> None:
    assert await _patch(error) is None


@pytest.mark.parametrize("error", [Invalid(422, "Invalid", "status.phase: no"), Forbidden(403, "Forbidden", "")])
async def test_trouble_is_told(error: ApiError) -> None:
    with pytest.raises(type(error)):
        await _patch(error)
