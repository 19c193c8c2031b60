"""OCI image layouts of one layer, the same bytes each time (image specification: image-layout, manifest, config)."""

import gzip
import hashlib
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from kubelet_bridge.devcluster.images.recipe import EPOCH, Program

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_CREATED = datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
_PIECE = 1 << 20


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """A blob, as manifests and indexes name it."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """What of a manifest is needed to copy an image."""

    config: Descriptor
    layers: list[Descriptor]


class Index(msgspec.Struct, frozen=True, rename="camel"):
    """What of a layout's index is needed to find its image."""

    manifests: list[Descriptor]


class _Digesting:
    """Passes bytes on, counting and digesting them."""

    def __init__(self, file: BinaryIO | None = None) -> None:
        self._file, self._digest, self.size = file, hashlib.sha256(), 0

    def write(self, piece: bytes) -> int:
        self._digest.update(piece)
        self.size += len(piece)
        return len(piece) if self._file is None else self._file.write(piece)

    def flush(self) -> None:
        """Nothing is held back."""

    @property
    def digest(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"


def write_layout(archive: Path, program: Program, target: Path, name: str) -> None:
    """Write the layout of an image whose one layer is the tar ``archive`` into the new directory ``target``.

    Args:
        archive: the file system.
        program: what the image runs.
        target: replaced if it is there.
        name: what the image is called in the layout's index (``org.opencontainers.image.ref.name``).
    """
    staged = target.with_name(f".{target.name}.new")
    shutil.rmtree(staged, ignore_errors=True)
    blobs = staged / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layer, unpacked = _write_layer(archive, blobs)
    config = _write_blob(blobs, _CONFIG, _configuration(program, unpacked))
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
    named = msgspec.structs.replace(
        _write_blob(blobs, MANIFEST, manifest), annotations={"org.opencontainers.image.ref.name": name}
    )
    (staged / "index.json").write_bytes(_json({"schemaVersion": 2, "manifests": [named]}))
    (staged / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    shutil.rmtree(target, ignore_errors=True)
    staged.rename(target)


def _write_layer(archive: Path, blobs: Path) -> tuple[Descriptor, str]:
    """The compressed layer's descriptor, and the digest of what is in it."""
    packed, content = blobs / ".layer", _Digesting()
    with packed.open("wb") as file:
        out = _Digesting(file)
        with archive.open("rb") as source, gzip.GzipFile("", "wb", 6, out, mtime=0) as compressed:
            while piece := source.read(_PIECE):
                content.write(piece)
                compressed.write(piece)
    packed.rename(blobs / out.digest.removeprefix("sha256:"))
    return Descriptor(_LAYER, out.digest, out.size), content.digest


def _configuration(program: Program, unpacked: str) -> dict[str, Any]:
    config: dict[str, Any] = {
        "Env": list(program.environment),
        "Entrypoint": list(program.entrypoint) or None,
        "Cmd": list(program.command) or None,
        "ExposedPorts": {port: {} for port in program.ports} or None,
        "StopSignal": program.stop_signal or None,
        "User": program.user or None,
        "WorkingDir": program.directory or None,
    }
    return {
        "created": _CREATED, "architecture": "amd64", "os": "linux",
        "config": {name: value for name, value in config.items() if value is not None},
        "rootfs": {"type": "layers", "diff_ids": [unpacked]},
        "history": [{"created": _CREATED, "created_by": "kubelet-bridge, from Debian's packages"}],
    }  # fmt: skip


def _write_blob(blobs: Path, media_type: str, document: Any) -> Descriptor:
    content = _json(document)
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return Descriptor(media_type, f"sha256:{digest}", len(content))


def _json(document: Any) -> bytes:
    return msgspec.json.encode(document)


def read_manifest(layout: Path) -> tuple[bytes, Manifest]:
    """The manifest of a layout's only image, as it is written and decoded."""
    index = msgspec.json.decode((layout / "index.json").read_bytes(), type=Index)
    content = blob(layout, index.manifests[0].digest).read_bytes()
    return content, msgspec.json.decode(content, type=Manifest)


def blob(layout: Path, digest: str) -> Path:
    """Where a blob of a layout is."""
    return layout / "blobs" / digest.replace(":", "/")
