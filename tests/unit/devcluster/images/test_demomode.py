import msgspec
import pytest

from kubelet_bridge.devcluster.demomode import Machine, obstacle

ABLE = Machine(root=True, has_apt=True, lacking=("mmdebstrap",), memory=8 << 30, disk=20 << 30)


def test_a_debian_with_room_has_real_guests() -> None:
    assert not obstacle(ABLE)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"root": False}, "root"),
        ({"has_apt": False}, "mmdebstrap"),
        ({"memory": 3 << 30}, "3.0 GiB of memory"),
        ({"disk": 1 << 30}, "1.0 GiB of disk"),
    ],
)
def test_what_is_in_the_way_is_named(change: dict[str, object], why: str) -> None:
    assert why in obstacle(msgspec.structs.replace(ABLE, **change))


def test_without_apt_what_is_installed_suffices() -> None:
    assert not obstacle(msgspec.structs.replace(ABLE, has_apt=False, lacking=()))
