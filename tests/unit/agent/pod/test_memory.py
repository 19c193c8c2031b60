"""What is kept on disk survives, and nonsense there does not stop the agent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.agent.pod.memory import MemoryFile, decode, encode
from kubelet_bridge.agent.pod.record import End, Memory, Record, Stop

ends = st.builds(
    End, st.integers(0, 255), st.integers(0, 64), st.text(), st.text(), st.integers(0), st.integers(0), st.text()
)
records = st.builds(
    Record, attempt=st.integers(-1, 99), end=st.none() | ends, last=st.none() | ends, delay=st.floats(0, 300)
)
memories = st.builds(
    Memory,
    st.text(),
    st.dictionaries(st.text(), records, max_size=3),
    st.none() | st.builds(Stop, st.integers(0), st.text(), st.text()),
)


@given(memories)
def test_round_trip(memory: Memory) -> None:
    assert decode(json.loads(json.dumps(encode(memory)))) == memory


async def test_file(tmp_path: Path) -> None:
    memory = Memory("boot", {"a": Record(attempt=2)})
    assert await MemoryFile(tmp_path / "pod.json").load() == Memory()
    await MemoryFile(tmp_path / "pod.json").save(memory)
    assert await MemoryFile(tmp_path / "pod.json").load() == memory


@pytest.mark.parametrize("text", ["", "{", "[]", '{"boot": 1}', '{"boot": "b", "stop": {"x": 1}, "containers": {}}'])
async def test_nonsense_counts_as_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "pod.json").write_text(text)
    assert await MemoryFile(tmp_path / "pod.json").load() == Memory()
