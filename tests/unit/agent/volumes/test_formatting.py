"""Disks that are formatted once and disks that never are, with real file systems on files."""

import os
import subprocess
from pathlib import Path

import pytest

from kubelet_bridge.agent.volumes import blank, formatting
from kubelet_bridge.agent.volumes.blank import DiskError

MIB = 1024 * 1024
SIZE = 64 * MIB


@pytest.fixture
def device(tmp_path: Path) -> Path:
    made = tmp_path / "disk"
    with made.open("wb") as file:
        file.truncate(SIZE)
    return made


def put(device: Path, offset: int, data: bytes) -> None:
    with device.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def kind(device: Path) -> str:
    command = ["blkid", "-p", "-s", "TYPE", "-o", "value", str(device)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    directory = tmp_path / "bin"
    directory.mkdir(exist_ok=True)
    made = directory / name
    made.write_text(f"#!/bin/sh\n{script}\n")
    made.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=":")


def test_an_empty_disk_is_formatted_and_bears_no_mark_then(device: Path) -> None:
    formatting.ensure(str(device))
    assert kind(device) == "ext4"
    assert formatting.MARK not in device.read_bytes()
    before = device.read_bytes()
    formatting.ensure(str(device))
    assert device.read_bytes() == before


@pytest.mark.parametrize("offset", [0, 512, MIB, 5 * MIB, SIZE - 9 * MIB, SIZE - MIB, SIZE - 8192, SIZE - 1])
def test_data_of_no_known_form_is_never_formatted(device: Path, offset: int) -> None:
    put(device, offset, b"x")
    before = device.read_bytes()
    with pytest.raises(DiskError, match="blkid does not know"):
        formatting.ensure(str(device))
    assert device.read_bytes() == before


@pytest.mark.parametrize("size", [300 * MIB, 5000 * MIB])
def test_a_large_disk_is_looked_at_between_its_ends(device: Path, size: int) -> None:
    with device.open("r+b") as file:
        file.truncate(size)
    assert blank.is_blank(str(device))
    put(device, size // 2, b"x" * 16 * MIB)
    with pytest.raises(DiskError, match="blkid does not know"):
        blank.is_blank(str(device))


def test_a_failing_blkid_does_not_make_a_disk_blank(
    tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(device, 5 * MIB, b"x")
    program(tmp_path, monkeypatch, "blkid", "exit 4")
    assert not blank.is_blank(str(device))


def test_a_disk_that_cannot_be_read_to_the_end_is_not_blank(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pread

    def cut(file: int, length: int, offset: int) -> bytes:
        return whole(file, length if offset < 20 * MIB else 512, offset)

    monkeypatch.setattr(os, "pread", cut)
    with pytest.raises(OSError, match="can be read"):
        formatting.ensure(str(device))


def test_two_forms_at_once_are_not_nothing(tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, "blkid", "exit 8")
    assert not blank.is_blank(str(device))


def test_an_interrupted_formatting_begins_anew(tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        torn = f"dd if=/dev/urandom of={device} bs=4096 seek=1 count=100 conv=notrunc status=none; exit 1"
        program(tmp_path, patched, "mkfs.ext4", torn)
        with pytest.raises(DiskError, match=r"mkfs\.ext4"):
            formatting.ensure(str(device))
    formatting.ensure(str(device))
    assert kind(device) == "ext4"
    assert subprocess.run(["e2fsck", "-fn", str(device)], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("size", [64 * 1024, SIZE])
def test_what_cannot_be_written_to_is_only_looked_at(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "cdrom.iso"
    image.write_bytes(bytes(0x8000) + b"\x01CD001\x01" + bytes(size - 0x8007))
    monkeypatch.setattr(formatting, "_write", None)
    formatting.ensure(str(image))


def test_a_disk_too_small_for_a_file_system_says_so(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.write_bytes(bytes(MIB))
    with pytest.raises(DiskError, match="too small"):
        formatting.ensure(str(small))


def test_a_disk_of_no_size_is_an_error(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(DiskError, match="no size"):
        blank.is_blank(str(empty))
