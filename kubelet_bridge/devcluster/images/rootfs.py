"""The file system of a recipe, as a tar archive: Debian's packages by mmdebstrap, and the recipe's files over them."""

import io
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from kubelet_bridge.devcluster.images import recipe as recipes
from kubelet_bridge.devcluster.images.recipe import EPOCH, Recipe, Source
from kubelet_bridge.devcluster.images.tools import run

SUITE = "bookworm"
_MIRROR, _SECURITY = "http://deb.debian.org/debian", "http://deb.debian.org/debian-security"
_SOURCES = (
    f"deb {_MIRROR} {SUITE} main",
    f"deb {_MIRROR} {SUITE}-updates main",
    f"deb {_SECURITY} {SUITE}-security main",
)
_APT_OPTIONS = ('APT::Install-Recommends "false"', 'Acquire::Languages "none"')
_MACHINES_OWN = (
    "Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-Valid-Until", "Acquire::Check-Date",
    "Acquire::Retries",
)  # fmt: skip
"""Settings of this machine's apt that hold for images too: how to reach a mirror, and how far to trust its clock."""

Files = Mapping[str, tuple[int, bytes]]
"""More files of a file system: path without a leading slash, then mode and content."""


def build(source: Source, archive: Path, packages: Path, more: Files) -> dict[str, str]:
    """Write the file system of ``source`` to ``archive``. Blocks, for about a minute; needs root and a Debian mirror.

    Args:
        source: the recipe and its directories.
        archive: tar, replaced when it is whole.
        packages: a directory where downloaded packages are kept.
        more: files beside those of the recipe.

    Returns:
        Version by package, of everything installed.

    Raises:
        Terminal: mmdebstrap failed, with what it said last.
    """
    packages.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix="rootfs-") as directory:
        overlay, built, listing = (Path(directory) / name for name in ("overlay.tar", "root.tar", "packages"))
        overlay.write_bytes(overlay_archive(source, more))
        arguments = command(source, built, packages, overlay, listing, _machines_own_options())
        run(*arguments, environment={"SOURCE_DATE_EPOCH": str(EPOCH)})
        versions = dict(line.split() for line in listing.read_text().splitlines())
        built.replace(archive)
    return versions


def command(
    source: Source, target: Path, packages: Path, overlay: Path, listing: Path, apt_options: tuple[str, ...] = ()
) -> list[str]:
    """The mmdebstrap command line."""
    recipe = source.recipe
    variant, then = ("apt", "customize") if recipe.installed else ("extract", "extract")
    archives = "/var/cache/apt/archives"
    hooks = [
        f'--setup-hook=mkdir -p "$1{archives}"',
        f"--setup-hook=sync-in {packages} {archives}",
        f"--{then}-hook=sync-out {archives} {packages}",
        f"--{then}-hook={_listing_command(recipe)} > {listing}",
        f"--{then}-hook=tar-in {overlay} /",
        *(f"--{then}-hook={setup}" for setup in source.setups()),
    ]
    return [
        "mmdebstrap", "--mode=root", f"--variant={variant}", "--format=tar", "--skip=essential/unlink",
        f"--include={','.join(recipe.packages)}",
        *(f"--aptopt={option}" for option in (*_APT_OPTIONS, *apt_options)),
        *_dpkg_options(recipe), *hooks, SUITE, str(target), *_SOURCES,
    ]  # fmt: skip


def _listing_command(recipe: Recipe) -> str:
    """A shell command that prints a line with name and version for each package; unpacked ones only apt knows of."""
    if recipe.installed:
        return """dpkg-query --admindir="$1/var/lib/dpkg" --show --showformat '${Package} ${Version}\\n'"""
    plan = f'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --simulate install {" ".join(recipe.packages)}'
    return plan + r" | sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*/\1 \2/p'"


def _dpkg_options(recipe: Recipe) -> list[str]:
    return [
        *(f"--dpkgopt=path-exclude={path}" for path in recipe.exclude),
        *(f"--dpkgopt=path-include={path}" for path in recipe.include),
    ]


def _machines_own_options() -> tuple[str, ...]:
    dumped = run("apt-config", "dump", "--format", '%f "%v"%n', *_MACHINES_OWN)
    return tuple(line for line in dumped.splitlines() if line.startswith(_MACHINES_OWN) and not line.endswith('""'))


def overlay_archive(source: Source, more: Files) -> bytes:
    """A tar of the recipe's files and ``more``, owned by root, its modes only 0755, 0644 or what ``more`` says."""
    found: dict[str, tuple[int, bytes]] = {}
    for overlay in source.overlays():
        for path in recipes.files(overlay):
            mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            found[str(path.relative_to(overlay))] = (mode, path.read_bytes())
    found |= more
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, (mode, content) in sorted(found.items()):
            _add(archive, name, mode, content)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, mode: int, content: bytes) -> None:
    entry = tarfile.TarInfo(f"./{name}")
    entry.mtime, entry.mode, entry.size = EPOCH, mode, len(content)
    entry.uid = entry.gid = 0
    archive.addfile(entry, io.BytesIO(content))
