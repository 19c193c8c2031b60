"""Disks that come and go while a guest runs: what virt-handler would report, and what QEMU is told."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubelet_bridge.devcluster.devhost import hotplug
from kubelet_bridge.devcluster.devhost.qemu import plugging
from kubelet_bridge.devcluster.devhost.qemu.expansion import Expander
from kubelet_bridge.devcluster.devhost.qemu.plugger import Plugger
from kubelet_bridge.devcluster.devhost.qemu.qmp import CommandFailed
from kubelet_bridge.devcluster.devhost.runtime import Guest
from kubelet_bridge.devcluster.devhost.storage.claimed import ClaimedImage
from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.quantity import Quantity

_SIZE = 1 << 20
_LONG = "a-volume-with-a-name-of-sixty-three-characters-which-is-the-most"


def _status(name: str, phase: str, pod: str = "p1") -> dict[str, Any]:
    info = {"capacity": {"storage": "1Mi"}, "filesystemOverhead": "0"}
    return {
        "name": name, "phase": phase, "hotplugVolume": {"attachPodUID": pod}, "persistentVolumeClaimInfo": info,
    }  # fmt: skip


def _vmi(*names: str, bus: str = "scsi", phase: str = "AttachedToNode") -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "shop", "uid": "u1"},
        "spec": {
            "domain": {"devices": {"disks": [
                {"name": name, "serial": "serial-1", "disk": {"bus": bus}} for name in names
            ]}},
            "volumes": [{"name": name, "persistentVolumeClaim": {"claimName": f"claim-{name}"}} for name in names],
        },
        "status": {"volumeStatus": [_status(name, phase) for name in names]},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("phase", "here"),
    [("Pending", False), ("Bound", False), ("AttachedToNode", True), ("MountedToPod", True), ("Ready", True)],
)
def test_a_disk_is_plugged_in_when_its_volume_is_on_the_host(phase: str, here: bool) -> None:
    assert hotplug.wanted(_vmi("more", phase=phase)) == (frozenset({"more"}) if here else frozenset())


def test_a_disk_that_the_spec_has_no_more_is_not_wanted() -> None:
    vmi = _vmi("more")
    vmi["spec"]["volumes"] = []
    assert not hotplug.wanted(vmi)


def test_what_is_reported_of_a_disk_from_its_coming_to_its_going() -> None:
    status = hotplug.reported(_status("more", "Bound", pod=""), "sda", asked=True, plugged=False)
    assert status["phase"] == "Bound"
    status = hotplug.reported(_status("more", "AttachedToNode"), "sda", asked=True, plugged=False)
    assert (status["phase"], status["target"]) == ("MountedToPod", "")
    status = hotplug.reported(status, "sda", asked=True, plugged=True)
    assert (status["phase"], status["reason"], status["target"]) == ("Ready", "VolumeReady", "sda")
    status = hotplug.reported(status, "", asked=False, plugged=True)
    assert status["phase"] == "Ready"
    status = hotplug.reported(status, "", asked=False, plugged=False)
    assert (status["phase"], status["target"]) == ("UnMountedFromPod", "")


class _Machine:
    """QEMU, as far as disks go: names are used once, a port takes one disk, and a device uses its node."""

    def __init__(self) -> None:
        self.nodes: dict[str, dict[str, Any]] = {}
        self.devices: dict[str, dict[str, Any]] = {}
        self.plugger: Plugger | None = None
        self.sizes: dict[str, int] = {}

    async def execute(self, command: str, arguments: dict[str, Any] | None) -> Any:
        found = arguments or {}
        match command:
            case "qom-list":
                return [{"name": name, "type": "child<x>"} for name in ("serial0", *self.devices)]
            case "query-named-block-nodes":
                return [{"node-name": name, "image": {"virtual-size": size}} for name, size in self.sizes.items()]
            case "block_resize":
                assert found["size"] > self.sizes[found["node-name"]]
                self.sizes[found["node-name"]] = found["size"]
            case "blockdev-add":
                assert len(found["node-name"]) < 32
                self._refuse(found["node-name"] in self.nodes)
                self.nodes[found["node-name"]] = found
            case "blockdev-del":
                name = found["node-name"]
                used = {one.get("file") for one in self.nodes.values()} | {
                    one["drive"] for one in self.devices.values()
                }
                self._refuse(name not in self.nodes or name in used)
                del self.nodes[name]
            case "device_add":
                buses = [one["bus"] for one in self.devices.values() if one["bus"] in plugging.PORTS]
                self._refuse(found["id"] in self.devices or found["bus"] in buses or found["drive"] not in self.nodes)
                self.devices[found["id"]] = found
            case "device_del":
                self._refuse(found["id"] not in self.devices)
                asyncio.get_running_loop().call_soon(self._let_go, found["id"])
        return {}

    def _let_go(self, device: str) -> None:
        del self.devices[device]
        assert self.plugger is not None
        self.plugger.device_deleted(device)

    def _refuse(self, refused: bool) -> None:
        if refused:
            raise CommandFailed("no", reason="GenericError")


class _Host:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.capacity = _SIZE

    def changed(self, guest: Guest) -> None:
        raise AssertionError(f"nothing happens to {guest}")

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        raise AssertionError(f"nobody asked for {namespace}/{name}")

    async def config_map(self, namespace: str, name: str) -> Mapping[str, bytes]:
        raise AssertionError(f"nobody asked for {namespace}/{name}")

    async def claimed_image(self, namespace: str, claim: str) -> ClaimedImage | None:
        assert namespace == "shop"
        if claim == "claim-foreign":
            return None
        return ClaimedImage(self._directory / claim, False, self.capacity, claim)


def _plugger(directory: Path, machine: _Machine) -> Plugger:
    machine.plugger = Plugger(machine.execute, _Host(directory))
    return machine.plugger


@pytest.mark.parametrize("bus", ["scsi", "virtio"])
async def test_disks_are_plugged_in_and_unplugged(tmp_path: Path, bus: str) -> None:
    machine = _Machine()
    plugger = _plugger(tmp_path, machine)
    await plugger.follow(msgspec.json.encode(_vmi("one", _LONG, bus=bus)))
    assert plugger.names == {"one", _LONG}
    assert {device["serial"] for device in machine.devices.values()} == {"serial-1"}
    assert {Path(node["filename"]).name for node in machine.nodes.values() if "filename" in node} == {
        "claim-one", f"claim-{_LONG}",
    }  # fmt: skip
    await plugger.follow(msgspec.json.encode(_vmi("one", bus=bus)))
    assert (plugger.names, list(machine.devices), len(machine.nodes)) == ({"one"}, ["ua-one"], 2)
    await plugger.follow(msgspec.json.encode(_vmi(bus=bus)))
    assert not plugger.names
    assert not machine.devices
    assert not machine.nodes


async def test_a_disk_that_qemu_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    machine = _Machine()
    plugger = _plugger(tmp_path, machine)
    names = [f"disk-{number}" for number in range(len(plugging.PORTS) + 1)]
    with pytest.raises(CommandFailed):
        await plugger.follow(msgspec.json.encode(_vmi(*names, bus="virtio")))
    assert plugger.names == set(names[:-1])
    assert len(machine.nodes) == 2 * len(plugging.PORTS)


async def test_a_later_process_of_the_host_knows_what_was_plugged_in(tmp_path: Path) -> None:
    machine = _Machine()
    await _plugger(tmp_path, machine).follow(msgspec.json.encode(_vmi("one")))
    machine.devices["ua-root"] = {"bus": "pcie.0", "drive": "disk0"}
    again = _plugger(tmp_path, machine)
    await again.rediscover(frozenset({"root"}))
    assert again.names == {"one"}
    await again.follow(msgspec.json.encode(_vmi()))
    assert list(machine.devices) == ["ua-root"]


@pytest.mark.parametrize(("name", "bus", "said"), [("foreign", "scsi", "storage"), ("one", "sata", "no hot-plug")])
async def test_what_cannot_be_plugged_in_is_refused_with_words(tmp_path: Path, name: str, bus: str, said: str) -> None:
    with pytest.raises(Terminal, match=said):
        await _plugger(tmp_path, _Machine()).follow(msgspec.json.encode(_vmi(name, bus=bus)))


async def test_a_disk_grows_with_its_claim_and_never_shrinks(tmp_path: Path) -> None:
    machine, host = _Machine(), _Host(tmp_path)
    expander = Expander(machine.execute, host)
    vmi = _vmi("data", bus="virtio")
    del vmi["status"]["volumeStatus"][0]["hotplugVolume"]
    machine.sizes = {"disk0": _SIZE, "other": 5}
    seen = list[int]()
    for size in ("1Mi", "3Mi", "3Mi", "2Mi"):
        vmi["status"]["volumeStatus"][0]["persistentVolumeClaimInfo"]["capacity"]["storage"] = size
        host.capacity = max(host.capacity, Quantity.parse(size).ceil())
        await expander.follow(msgspec.json.encode(vmi), frozenset())
        seen.append(machine.sizes["disk0"] // _SIZE)
    assert seen == [1, 3, 3, 3]
    assert machine.sizes["other"] == 5
