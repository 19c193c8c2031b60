import struct

import pytest

from kubelet_bridge.devcluster.images import bootsector
from kubelet_bridge.errors import Terminal

BOOT = bytes(range(256)) + bytes(254) + b"\x55\xaa"
CORE = b"core" * 1000
SECTORS = 131072


def area(core: bytes = CORE, boot: bytes = BOOT, sectors: int = SECTORS) -> bytes:
    return bootsector.boot_area(boot, core, sectors, 0xDEADBEEF)


def test_the_area_ends_where_the_partition_starts() -> None:
    assert len(area()) == 2048 * 512


def test_core_follows_the_boot_sector() -> None:
    assert area()[512 : 512 + len(CORE)] == CORE
    assert not any(area()[512 + len(CORE) :])


def test_the_boot_code_is_kept_around_the_partition_table() -> None:
    assert area()[:440] == BOOT[:440]
    assert area()[510:512] == b"\x55\xaa"


def test_the_kernel_has_an_active_partition_and_the_root_file_system_the_rest_of_the_disk() -> None:
    first, second = struct.unpack("<B3xB3xII", area()[446:462]), struct.unpack("<B3xB3xII", area()[462:478])
    assert first == (0x80, 0x83, 2048, 65536 - 2048)
    assert second == (0, 0x83, 65536, SECTORS - 65536)
    assert not any(area()[478:510])


def test_the_disk_has_its_signature() -> None:
    assert struct.unpack("<I", area()[440:444]) == (0xDEADBEEF,)


@pytest.mark.parametrize(
    ("boot", "core", "sectors"),
    [
        (BOOT, bytes(2047 * 512 + 1), SECTORS),
        (BOOT[:-1], CORE, SECTORS),
        (bytes(512), CORE, SECTORS),
        (BOOT, CORE, 65536),
    ],
)
def test_what_does_not_fit_is_refused(boot: bytes, core: bytes, sectors: int) -> None:
    with pytest.raises(Terminal):
        area(core, boot, sectors)


def test_the_largest_core_fits() -> None:
    assert len(area(bytes(2047 * 512))) == 2048 * 512
