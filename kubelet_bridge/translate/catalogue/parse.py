"""The catalogue from YAML: what is packaged, and over it what the cluster says. Every fault is told with its path."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import msgspec
import yaml

from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.catalogue import (
    Catalogue,
    ClaimSource,
    DataSourceSource,
    HttpSource,
    Image,
    ImageSource,
    OsFamily,
    RegistrySource,
)
from kubelet_bridge.model.quantity import InvalidQuantity, Quantity
from kubelet_bridge.translate.catalogue.checks import image_faults
from kubelet_bridge.translate.catalogue.spelling import spelling


class InvalidCatalogue(Terminal):
    """It cannot be used as it is written; ``faults`` are ``PATH: what is wrong``."""

    def __init__(self, where: str, faults: list[str]) -> None:
        super().__init__(f"{where}: {'; '.join(faults)}", reason="InvalidImageCatalogue")
        self.faults = faults


class _Sources(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """``source`` as it is written: one of these."""

    http: HttpSource | None = None
    registry: RegistrySource | None = None
    data_source: DataSourceSource | None = None
    claim: ClaimSource | None = None

    def given(self) -> list[ImageSource]:
        one_each = (self.http, self.registry, self.data_source, self.claim)
        return [source for source in one_each if source is not None]


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """One of ``images`` as it is written."""

    name: str
    aliases: list[str] = []
    title: str = ""
    family: OsFamily = OsFamily.LINUX
    user: str = ""
    minimum_disk: str | int
    preference: str = ""
    architecture: str = "amd64"
    deprecated: str = ""
    source: _Sources | None = None
    data_sources: list[str] = []


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file: ``packaged: false`` begins with nothing, ``removed`` takes entries away by name."""

    images: list[dict[str, Any]] = []
    packaged: bool = True
    removed: list[str] = []


def parse(packaged: str, override: str = "", *, where: str = "the image catalogue") -> Catalogue:
    """The catalogue of both texts.

    An entry of ``override`` with the name of a packaged one changes the fields it has; others are added.

    Raises:
        InvalidCatalogue: one of them is not as it must be; ``where`` says of which object the message speaks.
    """
    base, own = _document(packaged, "the packaged catalogue"), _document(override, where)
    merged, faults = _merged(base.images if own.packaged else [], own)
    settled = {str(one.get("name")) for one in own.images if "source" in one}
    images = [
        msgspec.structs.replace(image, own_source=image.name in settled)
        for path, entry in merged.values()
        if (image := _image(path, entry, faults)) is not None
    ]
    faults += _doubles(images)
    if faults:
        raise InvalidCatalogue(where, faults)
    return Catalogue({image.name: image for image in images}, _by_letters(images))


def _document(text: str, where: str) -> _Document:
    try:
        return msgspec.convert(yaml.safe_load(text) or {}, _Document)
    except yaml.YAMLError as error:
        raise InvalidCatalogue(where, [" ".join(f"not YAML: {error}".split())]) from error
    except msgspec.ValidationError as error:
        raise InvalidCatalogue(where, [_with_path("", error)]) from error


def _merged(packaged: list[dict[str, Any]], own: _Document) -> tuple[dict[str, tuple[str, dict[str, Any]]], list[str]]:
    """By name: where an entry is written, and what it is; and the faults met on the way."""
    entries = {str(one.get("name")): (f"images[{index}]", one) for index, one in enumerate(packaged)}
    faults, seen = [], set()
    for index, name in enumerate(own.removed):
        if entries.pop(name, None) is None:
            faults.append(f'removed[{index}]: there is no image "{name}"')
    for index, one in enumerate(own.images):
        path, name = f"images[{index}]", str(one.get("name"))
        if name in seen:
            faults.append(f'{path}.name: "{name}" is there twice')
        seen.add(name)
        entries[name] = (path, entries.get(name, ("", {}))[1] | one)
    return entries, faults


def _image(path: str, written: dict[str, Any], faults: list[str]) -> Image | None:
    try:
        entry = msgspec.convert(written, _Entry)
    except msgspec.ValidationError as error:
        faults.append(_with_path(path, error))
        return None
    given = entry.source.given() if entry.source else []
    image = Image(
        name=entry.name, aliases=tuple(entry.aliases), title=entry.title or entry.name, family=entry.family,
        user=entry.user, minimum_disk=_bytes(entry.minimum_disk), preference=entry.preference,
        architecture=entry.architecture, deprecated=entry.deprecated, source=given[0] if given else None,
        ready_made=tuple(entry.data_sources),
    )  # fmt: skip
    found = list(image_faults(image))
    if entry.source is not None and len(given) != 1:
        found.append("source: has to be one of http, registry, dataSource and claim")
    faults += [f"{path}.{fault}" for fault in found]
    return None if found else image


def _bytes(size: str | int) -> int:
    """0, which no disk has, for what is no quantity."""
    try:
        return Quantity.parse(size).ceil()
    except InvalidQuantity:
        return 0


def _with_path(prefix: str, error: msgspec.ValidationError) -> str:
    """Of msgspec's "what - at `$.where`": the path first, as in all our messages."""
    what, _, below = str(error).partition(" - at `$")
    path = f"{prefix}{below.rstrip('`')}".lstrip(".")
    return f"{path}: {what}" if path else what


def _by_letters(images: list[Image]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for image in images:
        for one in filter(None, map(spelling, image.names)):
            found.setdefault(one.letters, []).append(image.name)
    return found


def _doubles(images: list[Image]) -> Iterator[str]:
    """Names that one spelling could mean both of."""
    for one, other in combinations(images, 2):
        for mine in one.names:
            for theirs in other.names:
                first, second = spelling(mine), spelling(theirs)
                if first and second and (first.means(second) or second.means(first)):
                    yield f'images: "{mine}" of {one.name} cannot be told from "{theirs}" of {other.name}'
