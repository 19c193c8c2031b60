"""The initial RAM disk: Debian's tiny-initramfs, a static program that loads a list of modules and mounts the root.

Debian's usual initramfs takes a guest longer to load and to run than all else that the kernel does. The format is
"newc" (kernel documentation: driver-api/early-userspace/buffer-format), not compressed, as there is little of it.
"""

from collections.abc import Iterable
from pathlib import Path

from kubelet_bridge.devcluster.images.recipe import EPOCH
from kubelet_bridge.errors import Terminal

_INIT = "usr/lib/x86_64-linux-gnu/tiny-initramfs/init-static"
_DIRECTORY, _FILE, _PROGRAM = 0o040755, 0o100644, 0o100755


def build(root: Path, modules: Iterable[str]) -> bytes:
    """An initramfs for the one kernel installed in ``root``, which loads ``modules`` and what they depend on.

    Raises:
        Terminal: the kernel has no such module.
    """
    directory = next((root / "usr/lib/modules").iterdir())
    paths = load_order((directory / "modules.dep").read_text(), modules)
    archive = [(name, _DIRECTORY, b"") for name in ("dev", "proc", "target")]
    archive.append(("init", _PROGRAM, (root / _INIT).read_bytes()))
    archive.append(("modules", _FILE, "".join(f"/{Path(path).name}\n" for path in paths).encode()))
    archive.extend((Path(path).name, _FILE, (directory / path).read_bytes()) for path in paths)
    return cpio(archive)


def load_order(dependencies: str, modules: Iterable[str]) -> list[str]:
    """Paths of ``modules`` and of what they need, each after what it depends on.

    Args:
        dependencies: a ``modules.dep``: ``path: paths``, the dependencies in reverse order of loading.
        modules: names without ``.ko``, spelled with underscores.

    Raises:
        Terminal: there is no such module.
    """
    known: dict[str, tuple[str, list[str]]] = {}
    for line in dependencies.splitlines():
        path, _, after = line.partition(":")
        known[Path(path).name.split(".")[0].replace("-", "_")] = (path, after.split()[::-1])
    order: dict[str, None] = {}
    for module in modules:
        if module not in known:
            raise Terminal(f"the kernel has no module {module}")
        path, needs = known[module]
        order |= dict.fromkeys([*needs, path])
    return list(order)


def cpio(files: Iterable[tuple[str, int, bytes]]) -> bytes:
    """A newc archive of (name, mode, content), all owned by root and of the same time."""
    archive = bytearray()
    for inode, (name, mode, content) in enumerate([*files, ("TRAILER!!!", 0, b"")], start=1):
        named = name.encode() + b"\0"
        links = 2 if mode == _DIRECTORY else 1
        fields = (inode, mode, 0, 0, links, EPOCH if mode else 0, len(content), 0, 0, 0, 0, len(named), 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + named
        archive += bytes(-len(archive) % 4)
        archive += content
        archive += bytes(-len(archive) % 4)
    return bytes(archive)
