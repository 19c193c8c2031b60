"""What the bridge has kept of a container's output."""

import asyncio

from kubelet_bridge.guest import logfile
from tests.support.bridge import Bridge


async def kept(bridge: Bridge, uid: str, container: str, attempt: int = 0) -> list[str]:
    """The lines of one run, whole, in the order of their arrival; it asserts that the guest lost none itself."""
    return await asyncio.to_thread(_kept, bridge, uid, container, attempt)


def _kept(bridge: Bridge, uid: str, container: str, attempt: int) -> list[str]:
    folder = bridge.state_dir / "logs" / uid / container
    records = list(logfile.lines(folder, attempt, since=0))
    assert not [one for one in records if one.lost], "the guest dropped lines"
    text, begun = list[str](), ""
    for one in records:
        begun += one.data.decode()
        if not one.partial:
            text.append(begun)
            begun = ""
    return text


def counted(lines: list[str]) -> int:
    """How far a container has counted that says ``began`` and then 1, 2, 3…; not one line is missing or there twice."""
    assert lines[:1] in ([], ["began"]), lines[:3]
    numbers = [int(line) for line in lines[1:]]
    wrong = next((at for at, number in enumerate(numbers, 1) if at != number), None)
    assert wrong is None, f"line {wrong} is {numbers[wrong - 1] if wrong else ''}: {numbers[-20:]}"
    return len(numbers)
