"""Which device a volume's disk is."""

from pathlib import Path

from kubelet_bridge.agent.volumes.disk import find


def test_disks_on_other_buses_are_found_by_their_serial_number(tmp_path: Path) -> None:
    device = tmp_path / "sda" / "device"
    device.mkdir(parents=True)
    (device / "vpd_pg80").write_bytes(b"\x00\x80\x00\x04data")
    assert find("data", tmp_path / "by-id", tmp_path) == "/dev/sda"
