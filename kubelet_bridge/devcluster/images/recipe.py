"""Recipes: what goes into an image, as the files under ``images/`` say it."""

import hashlib
from pathlib import Path

import msgspec

from kubelet_bridge.errors import Terminal

RECIPE_FILE, OVERLAY, SETUP = "recipe.toml", "files", "setup"
_ROOTS = (Path(__file__).parents[3] / "images", Path(__file__).parent / "recipes")
"""In a checkout, and in an installed package."""

EPOCH = 1_700_000_000
"""Every time stamp in an image: an image says by its packages how old it is, not by when it was built."""


class Disk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The disk that a root file system is put on.

    Attributes:
        mebibytes: of the whole disk; what nothing is written to takes no space.
        uuid: of the file system, and what its hashes start from.
        arguments: the kernel's command line, but for ``root=``.
        modules: kernel modules loaded before the root file system is mounted, in any order.
    """

    mebibytes: int
    uuid: str
    arguments: str
    modules: tuple[str, ...]


class Program(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an application image runs: the ``config`` of the OCI image specification that we need."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
    ports: tuple[str, ...] = ()
    stop_signal: str = ""
    user: str = ""
    directory: str = ""


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One image.

    Attributes:
        reference: the name it is used by.
        packages: Debian packages; their dependencies follow, what they recommend does not.
        installed: whether the packages are installed (their scripts run), or only unpacked.
        exclude: paths, as dpkg's ``path-exclude``, that are not unpacked.
        include: exceptions of it, as dpkg's ``path-include``.
        base: another recipe whose packages, paths and files this one adds to.
        agent: whether our agent is in it.
        disk: set for an image that boots.
        program: set for an application image.
    """

    reference: str
    packages: tuple[str, ...]
    installed: bool = True
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    base: str = ""
    agent: bool = False
    disk: Disk | None = None
    program: Program | None = None


class Source(msgspec.Struct, frozen=True):
    """A recipe with the directories its files come from: its base's first."""

    name: str
    recipe: Recipe
    directories: tuple[Path, ...]

    def overlays(self) -> list[Path]:
        """Directories whose content is copied over the file system, in this order."""
        return [path for directory in self.directories if (path := directory / OVERLAY).is_dir()]

    def setups(self) -> list[Path]:
        """Programs run with the root file system's path, in this order."""
        return [path for directory in self.directories if (path := directory / SETUP).is_file()]

    def digest(self) -> str:
        """Over everything that the recipe says; whether a file can be executed counts."""
        digest = hashlib.sha256()
        for directory in self.directories:
            for path in files(directory):
                if path.suffix != ".md":
                    executable = bool(path.stat().st_mode & 0o100)
                    digest.update(f"\0{path.relative_to(directory)}\0{executable}\0".encode() + path.read_bytes())
        return digest.hexdigest()


def files(directory: Path) -> list[Path]:
    """The regular files below ``directory``, in order; but for what an installer of Python packages compiles."""
    return [path for path in sorted(directory.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]


def root() -> Path:
    """Where the recipes are.

    Raises:
        Terminal: nowhere.
    """
    found = next((path for path in _ROOTS if path.is_dir()), None)
    if found is None:
        raise Terminal("the images' recipes are not installed; use a checkout of the repository")
    return found


def load_all() -> list[Source]:
    """Every recipe, by path."""
    return [load(str(path.parent.relative_to(root()))) for path in sorted(root().rglob(RECIPE_FILE))]


def load(name: str) -> Source:
    """The recipe in ``images/NAME``.

    Raises:
        Terminal: there is none, or it cannot be understood.
    """
    directory = root() / name
    try:
        recipe = msgspec.toml.decode((directory / RECIPE_FILE).read_bytes(), type=Recipe)
    except FileNotFoundError as error:
        raise Terminal(f"no recipe {name}: {directory / RECIPE_FILE}") from error
    except msgspec.DecodeError as error:
        raise Terminal(f"{directory / RECIPE_FILE}: {error}") from error
    if not recipe.base:
        return Source(name, recipe, (directory,))
    return _upon(load(recipe.base), Source(name, recipe, (directory,)))


def _upon(base: Source, source: Source) -> Source:
    below, above = base.recipe, source.recipe
    recipe = msgspec.structs.replace(
        above,
        packages=(*below.packages, *above.packages),
        exclude=(*below.exclude, *above.exclude),
        include=(*below.include, *above.include),
        agent=above.agent or below.agent,
        disk=above.disk or below.disk,
    )
    return Source(source.name, recipe, (*base.directories, *source.directories))
