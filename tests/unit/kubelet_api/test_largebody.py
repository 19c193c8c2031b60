"""Answers that are larger than what is encrypted at once."""

import gzip

import pytest

from kubelet_bridge.kubelet_api.largebody import PIECE, takes_gzip
from tests.support.kubelet_endpoint import FULL, Serving
from tests.support.usage import Metered, container, pod, sample

HEADERS = {"Authorization": f"Bearer {FULL}"}


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("", False), ("gzip", True), ("gzip, deflate", True), ("br;q=1, GZIP;q=0.5", True), ("*", True),
        ("gzip;q=0, *", False), ("identity", False), ("gzip;q=x", False), ("*;q=0", False), ("xgzip", False),
    ],
)  # fmt: skip
def test_who_takes_gzip(header: str, taken: bool) -> None:
    assert takes_gzip(header) is taken


def many() -> Metered:
    pods = [pod(f"web-{number:04}", "app") for number in range(800)]
    node = Metered(*pods)
    for one in pods:
        node.take(one, sample(1, 9, container("app", 1)))
    return node


async def test_a_large_answer_arrives_whole_and_the_same_compressed(serving: Serving) -> None:
    node = many().node(2)
    async with serving() as world, world.client() as session:
        world.collect = lambda: node
        url = world.url("/metrics/cadvisor")
        async with session.get(url, headers=HEADERS | {"Accept-Encoding": "identity"}) as response:
            assert "Content-Encoding" not in response.headers
            plain = await response.read()
        assert len(plain) > 2 * PIECE
        async with session.get(url, headers=HEADERS | {"Accept-Encoding": "gzip"}, auto_decompress=False) as response:
            assert response.headers["Content-Encoding"] == "gzip"
            assert gzip.decompress(await response.read()) == plain


async def test_a_list_of_pods_is_not_compressed(serving: Serving) -> None:
    """The API server asks for gzip of its own accord, and passes on what it gets."""
    async with serving() as world, world.client() as session:
        world.assigned = [b'"' + b"x" * PIECE + b'"'] * 3
        async with session.get(world.url("/pods"), headers=HEADERS | {"Accept-Encoding": "gzip"}) as response:
            assert "Content-Encoding" not in response.headers
            assert len(await response.read()) > 3 * PIECE
