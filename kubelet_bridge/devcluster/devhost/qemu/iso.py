"""Small read-only disks of files, made as KubeVirt makes them: by xorrisofs, with Joliet and Rock Ridge names.

Arguments: defaultIsoFunc in pkg/cloud-init/cloud-init.go, defaultCreateIsoImage in pkg/config/config.go.
"""

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from kubelet_bridge.errors import Terminal

PROGRAM = "xorrisofs"


def write(path: Path, label: str, files: Mapping[str, bytes]) -> None:
    """Make the disk ``path`` out of ``files``, by their paths on it. Blocks.

    Raises:
        Terminal: it cannot be made.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".iso-") as name:
        root = Path(name, "data")
        root.mkdir()
        for relative, content in files.items():
            _write_file(root, relative, content)
        built = Path(name, "image.iso")
        arguments = [
            "-output",
            str(built),
            "-volid",
            label,
            "-joliet",
            "-rock",
            "-partition_cyl_align",
            "on",
            str(root),
        ]
        done = subprocess.run([PROGRAM, "-quiet", *arguments], capture_output=True, check=False, timeout=60)
        if done.returncode:
            raise Terminal(f"{PROGRAM}: {done.stderr.decode(errors='replace').strip()[-300:]}", reason="IsoFailed")
        built.chmod(0o600)
        built.replace(path)


def _write_file(root: Path, relative: str, content: bytes) -> None:
    target = root / relative
    if not target.resolve().is_relative_to(root.resolve()):
        raise Terminal(f"{relative!r} is no name of a file on a disk", reason="InvalidName")
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
