"""From a VirtualMachineInstance to QEMU's arguments, and to the files on its disks."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubelet_bridge.devcluster.devhost.qemu import cloudinit, disks, iso, machine, network, programs, storage, vmispec
from kubelet_bridge.devcluster.devhost.qemu.machine import Surroundings
from kubelet_bridge.devcluster.devhost.qemu.vmispec import Port
from kubelet_bridge.devcluster.devhost.storage.claimed import ClaimedImage
from kubelet_bridge.errors import Terminal, Transient

ADDRESS = "10.200.0.20"
UUID = "24ce9601-9460-5853-a8c6-aafb91d51b06"

needs_programs = pytest.mark.skipif(bool(programs.missing()), reason=f"not installed: {programs.missing()}")


def vmi(volumes: list[dict[str, Any]] | None = None, seen: list[dict[str, Any]] | None = None, **domain: Any) -> bytes:
    volumes = volumes or [{"name": "root", "containerDisk": {"image": "example.test/os:1"}}]
    devices = {
        "disks": seen or [{"name": volume["name"], "disk": {"bus": "virtio"}} for volume in volumes],
        "interfaces": [{"name": "default", "masquerade": {}, "macAddress": "02:6b:7b:e9:26:41",
                        "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]}],
        "rng": {},
    }  # fmt: skip
    return msgspec.json.encode({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u-1"},
        "spec": {
            "domain": {
                "cpu": {"sockets": 2, "cores": 1, "threads": 1}, "memory": {"guest": "1Gi"}, "devices": devices,
                "firmware": {"uuid": UUID}, **domain,
            },
            "networks": [{"name": "default", "pod": {}}], "volumes": volumes, "hostname": "web-0",
        },
    })  # fmt: skip


def arguments(raw: bytes, **around: Any) -> list[str]:
    decoded = vmispec.decode(raw)
    drives = disks.drives(decoded)
    where = Surroundings(
        accelerator=("-accel", "tcg"), sockets=Path("run/g1"), console=Path("/logs/console"), address=ADDRESS,
        files={drive.name: Path(f"/disks/{drive.name}") for drive in drives},
        formats=dict.fromkeys((drive.name for drive in drives), "qcow2"), **around,
    )  # fmt: skip
    return machine.arguments(decoded, drives, where)


def following(found: list[str], option: str) -> list[str]:
    return [found[index + 1] for index, argument in enumerate(found) if argument == option]


def test_the_whole_machine() -> None:
    found = arguments(vmi())
    assert following(found, "-smp") == ["2,sockets=2,cores=1,threads=1"]
    assert following(found, "-m") == ["size=1024M"]
    assert following(found, "-uuid") == [UUID]
    assert following(found, "-machine") == ["q35,usb=off,dump-guest-core=off"]
    stack = "user,id=net0,net=10.0.2.0/24,host=10.0.2.1,dhcpstart=10.0.2.2,dns=10.0.2.3,hostname=web-0,ipv6=off"
    forwards = f"hostfwd=tcp:{ADDRESS}:80-10.0.2.2:80,hostfwd=udp:{ADDRESS}:53-10.0.2.2:53"
    assert following(found, "-netdev") == [f"{stack},{forwards}"]
    devices = following(found, "-device")
    assert "virtio-net-pci,netdev=net0,id=nic0,mac=02:6b:7b:e9:26:41" in devices
    assert "virtio-blk-pci,drive=disk0,id=ua-root,bootindex=1" in devices
    assert "virtio-rng-pci,rng=rng0" in devices
    assert "virtserialport,chardev=agent,name=org.qemu.guest_agent.0" in devices
    assert "-S" in found
    assert "-incoming" not in found
    assert any("logfile=/logs/console" in value for value in following(found, "-chardev"))


def test_a_target_of_a_migration_runs_when_it_has_arrived() -> None:
    found = arguments(vmi(), incoming=Path("/run/m1"))
    assert following(found, "-incoming") == ["unix:/run/m1"]
    assert "-S" not in found


def test_disks_on_every_bus_in_their_boot_order() -> None:
    volumes = [{"name": name, "emptyDisk": {"capacity": "1Gi"}} for name in "abcde"]
    seen = [
        {"name": "a", "disk": {"bus": "sata"}, "bootOrder": 2}, {"name": "b", "cdrom": {"bus": "sata"}},
        {"name": "c", "disk": {"bus": "scsi"}, "serial": "S" * 30}, {"name": "d", "lun": {"bus": "scsi"}},
        {"name": "e", "disk": {"bus": "usb", "readonly": True}, "bootOrder": 1},
    ]  # fmt: skip
    found = arguments(vmi(volumes, seen))
    assert [value for value in following(found, "-device") if "drive=" in value] == [
        "ide-hd,bus=ide.0,drive=disk0,id=ua-a,bootindex=2",
        "ide-cd,bus=ide.1,drive=disk1,id=ua-b",
        f"scsi-hd,bus=scsi0.0,drive=disk2,id=ua-c,serial={'S' * 20}",
        "scsi-hd,bus=scsi0.0,drive=disk3,id=ua-d",
        "usb-storage,bus=usb0.0,drive=disk4,id=ua-e,bootindex=1",
    ]
    nodes = [msgspec.json.decode(value) for value in following(found, "-blockdev")]
    readonly = {node["node-name"]: node["read-only"] for node in nodes}
    assert [readonly[f"disk{index}"] for index in range(5)] == [False, True, False, False, True]


def test_only_a_claims_disk_waits_for_the_platter() -> None:
    volumes = [{"name": "root", "emptyDisk": {"capacity": "1"}}, {"name": "data", "dataVolume": {"name": "data"}}]
    body = msgspec.json.decode(vmi(volumes))
    info = {"capacity": {"storage": "2Gi"}}
    body["status"] = {"volumeStatus": [{"name": "data", "persistentVolumeClaimInfo": info}]}
    raw = msgspec.json.encode(body)
    assert disks.drives(vmispec.decode(raw))[1].source == disks.Claimed("shop", "data", 2 << 30)
    nodes = [msgspec.json.decode(value) for value in following(arguments(raw), "-blockdev")]
    flush = {node["node-name"]: node["cache"]["no-flush"] for node in nodes if "cache" in node}
    assert flush == {"disk0": True, "disk1": False}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (vmi([{"name": "root", "hostDisk": {"path": "/x"}}]), "UnsupportedVolume"),
        (vmi(seen=[{"name": "root", "disk": {"bus": "floppy"}}]), "UnsupportedBus"),
        (vmi(seen=[{"name": "other"}]), "UnknownVolume"),
        (vmi([{"name": "root", "dataVolume": {"name": "d"}}]), "UnknownClaim"),
        (vmi(memory={}), "NoMemory"),
        (vmi(firmware={"bootloader": {"efi": {}}}), "NoFirmware"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_said(raw: bytes, reason: str) -> None:
    with pytest.raises(Terminal) as caught:
        arguments(raw)
    assert caught.value.reason == reason


def test_without_declared_ports_the_usual_ones_are_forwarded() -> None:
    every = network.forwarded([])
    assert len(every) == len(set(every))
    assert {("tcp", 22), ("tcp", 80), ("tcp", 8080), ("tcp", 5432), ("udp", 53)} <= set(every)
    assert network.forwarded([Port(80), Port(80), Port(80, "UDP")]) == [("tcp", 80), ("udp", 80)]
    with pytest.raises(Terminal):
        network.forwarded([Port(80, "SCTP")])


def secrets(name: str) -> Mapping[str, bytes]:
    return {"seed": {"userdata": b"#cloud-config\n", "networkdata": b"version: 2\n"}}[name]


def seed(**source: Any) -> vmispec.CloudInit:
    return msgspec.convert(source, vmispec.CloudInit)


def test_a_no_cloud_disk_is_kubevirts() -> None:
    source = seed(secretRef={"name": "seed"}, networkDataSecretRef={"name": "seed"})
    files = cloudinit.no_cloud(vmispec.decode(vmi()), source, "web-0", secrets)
    assert files["user-data"] == b"#cloud-config\n"
    assert files["network-config"] == b"version: 2\n"
    assert msgspec.json.decode(files["meta-data"]) == {"instance-id": UUID, "local-hostname": "web-0"}


def test_documents_may_be_in_place() -> None:
    decoded = vmispec.decode(vmi())
    assert cloudinit.no_cloud(decoded, seed(userDataBase64="eA=="), "h", secrets)["user-data"] == b"x"
    drive = cloudinit.config_drive(decoded, seed(userData="y"), "h", secrets)
    assert drive["openstack/latest/user_data"] == b"y"
    assert msgspec.json.decode(drive["openstack/latest/meta_data.json"])["instance_id"] == "web.shop"
    with pytest.raises(Terminal):
        cloudinit.no_cloud(decoded, seed(), "h", secrets)


@needs_programs
def test_a_disk_of_files_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "seed.iso"
    iso.write(path, "cidata", {"user-data": b"hello\n", "openstack/latest/meta_data.json": b"{}"})
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes()[0x8028 : 0x8028 + 6] == b"cidata"
    subprocess.run(
        ["xorriso", "-osirrox", "on", "-indev", str(path), "-extract", "/", str(tmp_path / "out")],
        check=True, capture_output=True,
    )  # fmt: skip
    assert (tmp_path / "out/user-data").read_bytes() == b"hello\n"
    assert (tmp_path / "out/openstack/latest/meta_data.json").read_bytes() == b"{}"
    with pytest.raises(Terminal):
        iso.write(path, "x", {"../escape": b""})


@needs_programs
def test_disks_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBELET_BRIDGE_CACHE", str(tmp_path / "cache"))
    image = tmp_path / "cache/images/example.test/os/1.qcow2"
    image.parent.mkdir(parents=True)
    storage.qemu_img("create", "-q", "-f", "qcow2", str(image), "1M")
    volumes = [
        {"name": "root", "containerDisk": {"image": "example.test/os:1"}},
        {"name": "scratch", "emptyDisk": {"capacity": "1Mi"}}, {"name": "conf", "secret": {"secretName": "seed"}},
    ]  # fmt: skip
    decoded = vmispec.decode(vmi(volumes))

    def make() -> storage.Made:
        drives = disks.drives(decoded)
        return storage.make(
            decoded,
            drives,
            "h",
            lambda _secret, name: secrets(name),
            tmp_path / "guest",
            storage.Claims(tmp_path / "claims"),
        )

    made = make()
    before = {name: path.stat().st_mtime_ns for name, path in made.files.items()}
    assert {name: path.stat().st_mtime_ns for name, path in make().files.items()} == before
    assert made.formats == {"root": "qcow2", "scratch": "qcow2", "conf": "raw"}
    image.unlink()
    with pytest.raises(Transient) as caught:
        make()
    assert caught.value.reason == "ErrImagePull"


@pytest.mark.parametrize("block", [False, True])
def test_the_disk_of_a_claim_is_its_volume(tmp_path: Path, block: bool) -> None:
    size = 8 << 20
    image = ClaimedImage(tmp_path / "volume", block, size, "data")
    image.path.write_bytes(b"data" + bytes(size - 4 if block else 0))
    source = disks.Claimed("shop", "data", size, overhead=0.06)
    assert storage.claimed_disk(source, image) == image.path
    assert image.path.read_bytes()[:4] == b"data"
    assert image.path.stat().st_size == (size if block else 7 << 20)


def test_a_hot_plugged_disk_is_not_there_from_the_start() -> None:
    volumes = [
        {"name": "root", "emptyDisk": {"capacity": "1Mi"}},
        {"name": "more", "persistentVolumeClaim": {"claimName": "data", "hotpluggable": True}},
    ]  # fmt: skip
    document = msgspec.json.decode(vmi(volumes))
    document["status"] = {"volumeStatus": [{"name": "more", "hotplugVolume": {"attachPodName": "hp-volume-1"}}]}
    decoded = vmispec.decode(msgspec.json.encode(document))
    assert [drive.name for drive in disks.drives(decoded)] == ["root"]
