"""Labels and annotations as a file: Go's ``%q``."""

import pytest

from kubelet_bridge.translate.downward import NoSuchField, volume_value
from tests.support.pods import pod


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", '"plain"'),
        ('a"b\\c', r'"a\"b\\c"'), ("line\nbreak\t", r'"line\nbreak\t"'), ("\x01\x7f", r'"\x01\x7f"'),
        ("é世", '"é世"'), ("\u200b\U000e0001", r'"\u200b\U000e0001"'),
    ],
)  # fmt: skip
def test_values_are_quoted_as_go_quotes_them(text: str, quoted: str) -> None:
    assert volume_value(pod(annotations={"a": text}), "metadata.annotations") == f"a={quoted}"


def test_labels_are_sorted_lines() -> None:
    assert volume_value(pod(labels={"b": "2", "a": "1"}), "metadata.labels") == 'a="1"\nb="2"'


def test_other_fields_are_as_in_variables() -> None:
    assert volume_value(pod(labels={"a": "1"}), "metadata.labels['a']") == "1"
    with pytest.raises(NoSuchField):
        volume_value(pod(), "status.podIP")
