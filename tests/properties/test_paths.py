"""However a path is spelled: what was authorised is what is served."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubelet_bridge.model.access import Attributes, User
from tests.support.declaredroutes import declared, stubs
from tests.support.kubelet_endpoint import STATS, Serving, World, raw, serving

__all__ = ["serving"]

_words = st.sampled_from([
    "exec", "attach", "run", "portForward", "stats", "summary", "pods", "vms", "console", "ns", "pod", "c", "EXEC",
    "..", ".", "%2e%2e", "%2E.", "%65xec", "%73tats", "stats%2fsummary", "..%2f", "%5c", "", ";x", "x;/..", "%00", "*",
])  # fmt: skip
_ends = st.sampled_from(["", "/", "?", "?a=/../exec", "#/../exec", "//"])
_targets = st.builds(
    lambda start, words, end: start + "/".join(words) + end,
    st.sampled_from(["/", "//", "https://x/", "/./"]), st.lists(_words, max_size=7), _ends,
)  # fmt: skip


async def token(given: str) -> User | None:
    return User(name=given) if given == STATS else None


async def access(_user: User, wanted: Attributes) -> bool:
    return wanted == Attributes("get", "stats")


async def ask(world: World, target: str) -> tuple[int, str]:
    async with raw(world) as (reader, writer):
        head = f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {STATS}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        answer = await reader.read()
    first, _, rest = answer.decode().partition("\r\n")
    return int(first.split()[1]), rest.partition("\r\n\r\n")[2]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(targets=st.lists(_targets, min_size=5, max_size=25))
def test_the_right_to_stats_serves_nothing_else(serving: Serving, tmp_path: Path, targets: list[str]) -> None:
    async def attempt() -> None:
        only = stubs(declared(tmp_path / "state"))
        async with serving(only=only, token=token, access=access) as world:
            for target in targets:
                status, body = await ask(world, target)
                assert status in (200, 400, 403), (target, status)
                assert status != 200 or body.startswith("/stats/"), (target, body)

    asyncio.run(attempt())


@pytest.mark.parametrize(
    "target", ["/stats/summary", "/%73tats/summary", "/stats/summary?a=/../exec", "https://x/stats/summary"]
)
async def test_the_right_to_stats_does_serve_them(serving: Serving, tmp_path: Path, target: str) -> None:
    async with serving(only=stubs(declared(tmp_path / "state")), token=token, access=access) as world:
        assert await ask(world, target) == (200, "/stats/summary")
