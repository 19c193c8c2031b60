"""How many images are imported, as the view tells it."""

from typing import Any

import pytest

from kubelet_bridge.errors import AlreadyExists, ApiError, ApiUnavailable
from kubelet_bridge.kube.client import Client
from kubelet_bridge.kube.view import NodeView
from kubelet_bridge.translate.catalogue.golden import LABEL_IMAGE

GOLDEN = {"metadata": {"name": "debian", "labels": {LABEL_IMAGE: "debian-12"}}}
ROOT = {"metadata": {"name": "web-root", "labels": {"kubelet-bridge.io/node": "vnode"}}}


class Api(Client):
    def __init__(self, *errors: ApiError) -> None:
        self.errors = list(errors)

    async def request(self, *_: Any, **__: Any) -> bytes:
        if self.errors:
            raise self.errors.pop(0)
        return b"{}"


async def test_each_request_for_an_import_is_counted_by_how_it_ended() -> None:
    view = NodeView(Api(ApiUnavailable(503, "", "no answer"), AlreadyExists(409, "AlreadyExists", "debian")), "vnode")
    told: list[str] = []
    view.imported = told.append
    for error in (ApiUnavailable, AlreadyExists):
        with pytest.raises(error):
            await view.create_disk("images", GOLDEN)
    await view.create_disk("images", GOLDEN)
    await view.create_disk("shop", ROOT)
    assert told == ["error", "exists", "begun"]
