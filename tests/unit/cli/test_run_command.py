"""``kubelet-bridge run`` says what is wrong with a settings file in one line."""

from pathlib import Path

import pytest

from kubelet_bridge.cli.run import read_file
from kubelet_bridge.errors import SettingsError


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", "while parsing a flow node"),
        (b"\xff\xfe", "can't decode byte"),
        (b"- a", "want a mapping of settings, got list"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "settings.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read_file(file)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
