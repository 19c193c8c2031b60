"""What a development cluster installs for the bridge itself."""

from collections import Counter
from pathlib import Path

import yaml

from kubelet_bridge.devcluster import bridge
from kubelet_bridge.devcluster.manifests import resource_of

EXAMPLE = Path(__file__).parents[3] / "examples" / "disks.yaml"


def test_its_storage_class_is_that_of_the_example() -> None:
    objects = list(yaml.safe_load_all(EXAMPLE.read_text()))
    installed = [one for one in objects if one["kind"] in ("CSIDriver", "StorageClass")]
    assert bridge.classes() == installed
    assert [resource_of(one).namespaced for one in bridge.classes()] == [False, False]


def test_no_right_is_granted_twice() -> None:
    granted = Counter(
        (group, resource, verb)
        for group, resources, verbs in bridge.RULES
        for resource in resources
        for verb in verbs
    )  # fmt: skip
    assert [right for right, times in granted.items() if times > 1] == []
