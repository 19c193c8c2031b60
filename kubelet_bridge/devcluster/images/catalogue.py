"""Every image there is a recipe for: whether it is built, and building it."""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

import msgspec

from kubelet_bridge.devcluster.images import builder, oci, recipe, store, tools
from kubelet_bridge.devcluster.images.recipe import Source
from kubelet_bridge.devcluster.progress import Progress
from kubelet_bridge.errors import Terminal


class State(StrEnum):
    """How an image in the cache stands to its recipe."""

    READY = "ready"
    STALE = "stale"
    MISSING = "missing"


class Image(msgspec.Struct, frozen=True):
    """One row of ``dev images list``; ``path`` is a disk or an OCI layout."""

    reference: str
    kind: str
    state: State
    path: Path


RUNTIME = "kubelet-bridge.dev/runtime:1"
"""The container disk that application images are run by (``runtime_image`` of the bridge)."""


def listed() -> list[Image]:
    """Every image. Blocks, when the agent has to be packed."""
    return [_image(source) for source in recipe.load_all()]


def _image(source: Source) -> Image:
    path = _path(source)
    record = store.read(path)
    made_from = record.inputs if record else ""
    state = State.READY if made_from == _inputs(source) else State.STALE if record else State.MISSING
    return Image(source.recipe.reference, "disk" if source.recipe.disk else "application", state, path)


def _path(source: Source) -> Path:
    where = store.disk_path if source.recipe.disk else store.layout_path
    return where(source.recipe.reference)


def _inputs(source: Source) -> str:
    wanted = builder.plan(source)
    return wanted.whole if source.recipe.disk else wanted.archive


def named(words: Iterable[str]) -> list[Source]:
    """The recipes that are called so, by directory or by reference; all of them, when none is named.

    Raises:
        Terminal: there is no such recipe.
    """
    known = recipe.load_all()
    wanted = list(words)
    names = {name: source for source in known for name in (source.name, source.recipe.reference)}
    if unknown := [word for word in wanted if word not in names]:
        raise Terminal(f"no recipe for {', '.join(unknown)}; there are {', '.join(source.name for source in known)}")
    return [names[word] for word in wanted] if wanted else known


def applications() -> list[Source]:
    """The recipes of application images."""
    return [source for source in recipe.load_all() if source.recipe.program is not None]


def ensure(source: Source, progress: Progress, *, again: bool = False) -> Path:
    """The image's disk or layout, built unless it is there. Blocks, for a minute or two when it has to be built.

    Raises:
        Terminal: it cannot be built here; the message says why.
    """
    if source.recipe.disk is not None:
        return builder.ensure_disk(source, progress, again=again)
    return _ensure_layout(source, progress, again=again)


def _ensure_layout(source: Source, progress: Progress, *, again: bool) -> Path:
    program, name = source.recipe.program, source.recipe.reference
    if program is None:
        raise Terminal(f"the recipe of {name} says neither what disk it is nor what it runs")
    target, wanted = store.layout_path(name), builder.plan(source)
    if not again and builder.is_current(target, wanted.archive):
        return target
    tools.check()
    target.parent.mkdir(parents=True, exist_ok=True)
    with builder.locked(target, progress):
        if again or not builder.is_current(target, wanted.archive):
            archive, packages = builder.ensure_archive(wanted, progress, again=again)
            oci.write_layout(archive, program, target, name)
            digest = store.file_digest(target / "index.json")
            store.write(target, store.Record(wanted.archive, digest, packages))
            archive.unlink()
    return target
