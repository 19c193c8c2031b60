import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from kubelet_bridge.devcluster.images import bcrypt, containerdisk, oci
from kubelet_bridge.devcluster.images.recipe import Program


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "root.tar"
    with tarfile.open(path, "w") as tar:
        entry = tarfile.TarInfo("etc/hostname")
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"web\n"))
    return path


def test_every_blob_is_what_its_name_says(archive: Path, tmp_path: Path) -> None:
    oci.write_layout(archive, Program(command=("sh",)), tmp_path / "layout", "web:1")
    blobs = list((tmp_path / "layout/blobs/sha256").iterdir())
    assert len(blobs) == 3
    assert all(hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name for blob in blobs)


def test_the_configuration_names_the_unpacked_layer_and_what_runs(archive: Path, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    oci.write_layout(archive, Program(command=("sh",), ports=("80/tcp",), stop_signal="SIGQUIT"), layout, "web:1")
    _, manifest = oci.read_manifest(layout)
    config = json.loads(oci.blob(layout, manifest.config.digest).read_bytes())
    layer = gzip.decompress(oci.blob(layout, manifest.layers[0].digest).read_bytes())
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    assert layer == archive.read_bytes()
    assert config["config"]["Cmd"] == ["sh"]
    assert config["config"]["ExposedPorts"] == {"80/tcp": {}}
    assert "Entrypoint" not in config["config"]


def test_the_same_file_system_gives_the_same_image(archive: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        oci.write_layout(archive, Program(), tmp_path / name, "web:1")
    assert (tmp_path / "one/index.json").read_bytes() == (tmp_path / "two/index.json").read_bytes()


def test_a_container_disk_holds_the_disk_for_qemu(tmp_path: Path) -> None:
    disk = tmp_path / "disk.qcow2"
    disk.write_bytes(b"QFI\xfb" + bytes(5000))
    containerdisk.write(disk, "runtime", tmp_path / "layout")
    _, manifest = oci.read_manifest(tmp_path / "layout")
    with tarfile.open(oci.blob(tmp_path / "layout", manifest.layers[0].digest)) as layer:
        entry = layer.getmember("disk/runtime.qcow2")
        assert (entry.uid, entry.gid, entry.mode) == (107, 107, 0o440)
        content = layer.extractfile(entry)
        assert content is not None
        assert content.read() == disk.read_bytes()


def test_a_password_is_hashed_with_a_salt_of_its_own() -> None:
    one, two = bcrypt.hashed("secret"), bcrypt.hashed("secret")
    assert one.startswith("$2b$05$")
    assert len(one) == 60
    assert one != two
