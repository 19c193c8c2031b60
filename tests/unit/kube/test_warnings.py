"""KubeVirt's warnings about one thing, told in one voice."""

import pytest

from kubelet_bridge.kube.warnings import same_words


@pytest.mark.parametrize("prefix", ["", "(combined from similar events): "])
@pytest.mark.parametrize("suffix", ["thzsb", "rbtn8"])
def test_every_try_to_make_a_launcher_fails_in_the_same_words(prefix: str, suffix: str) -> None:
    message = f'{prefix}Error creating pod: pods "virt-launcher-q1-{suffix}" is forbidden: exceeded quota: q'
    assert same_words(message) == 'Error creating pod: pods "virt-launcher-q1-*" is forbidden: exceeded quota: q'


def test_other_words_are_left_alone() -> None:
    assert same_words("The VirtualMachineInstance crashed.") == "The VirtualMachineInstance crashed."
