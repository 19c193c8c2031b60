"""The recipes under ``images/``: all can be read, and an installed package brings them along."""

import os
import tomllib
from pathlib import Path

import pytest

from kubelet_bridge.devcluster.images import recipe, rootfs
from kubelet_bridge.errors import Terminal

TOP = Path(__file__).parents[4]
INSTALLED = "kubelet_bridge/devcluster/images/recipes"


def test_every_recipe_is_read_and_has_a_name_of_its_own() -> None:
    found = recipe.load_all()
    assert len({source.recipe.reference for source in found}) == len(found)
    assert all((source.recipe.disk is None) != (source.recipe.program is None) for source in found)


def test_a_wheel_has_the_recipes_where_they_are_looked_for() -> None:
    build = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert build["targets"]["wheel"]["force-include"] == {"images": INSTALLED}
    assert (Path(recipe.__file__).parent / "recipes").relative_to(TOP) == Path(INSTALLED)


def test_no_recipe_has_a_symbolic_link_as_a_wheel_cannot() -> None:
    links = [path for path in (TOP / "images").rglob("*") if path.is_symlink()]
    assert not links, "make them in the recipe's setup"


def test_what_an_installer_compiles_is_no_part_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "files/lib/__pycache__").mkdir(parents=True)
    (tmp_path / "files/lib/program.py").touch()
    source = recipe.Source("any", recipe.Recipe("any:1", ()), (tmp_path,))
    before = source.digest(), rootfs.overlay_archive(source, {})
    (tmp_path / "files/lib/__pycache__/program.pyc").touch()
    assert (source.digest(), rootfs.overlay_archive(source, {})) == before


def test_setups_can_be_run() -> None:
    assert all(os.access(path, os.X_OK) for source in recipe.load_all() for path in source.setups())


def test_where_there_are_no_recipes_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "_ROOTS", (tmp_path / "nowhere",))
    with pytest.raises(Terminal, match="recipes are not installed"):
        recipe.load_all()
