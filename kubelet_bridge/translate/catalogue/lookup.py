"""Which entry of the catalogue a name means: the one it spells, the only one it begins, or none."""

from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.catalogue import Catalogue, Image
from kubelet_bridge.translate.catalogue.spelling import Spelling, distance, spelling

_MOST_SUGGESTIONS = 3
_NOT_NEAR = 1000
"""More than the length of any name."""


class UnknownImage(Terminal):
    """No entry is called so, or more than one might be; ``nearest`` are canonical names, the most likely first."""

    def __init__(self, message: str, nearest: list[str]) -> None:
        super().__init__(message, reason="InvalidImageName")
        self.nearest = nearest


def exact(catalogue: Catalogue, text: str) -> Image | None:
    """The entry that ``text`` spells, loosely, as a whole."""
    written = spelling(text)
    if written is None:
        return None
    alike = (catalogue.images[name] for name in catalogue.spelled.get(written.letters, ()))
    return next((image for image in alike if _is_spelled(written, image)), None)


def find(catalogue: Catalogue, text: str) -> Image:
    """The entry that ``text`` spells, or else the only one whose name it begins (``ubuntu-22``).

    Raises:
        UnknownImage: there is none, or ``text`` begins the names of several.
    """
    if image := exact(catalogue, text):
        return image
    started = _started(catalogue, text)
    if len(started) > 1:
        names = [image.name for image in started]
        raise UnknownImage(f'"{text}" could be any of {", ".join(names)}', names)
    if started:
        return started[0]
    near = nearest(catalogue, text)
    hint = f"; did you mean {_either(near)}?" if near else f"; there is {_all(catalogue)}"
    raise UnknownImage(f'the image catalogue has no "{text}"{hint}', near)


def nearest(catalogue: Catalogue, text: str) -> list[str]:
    """Canonical names that are much like ``text``, the likest first: a slip of the keyboard, or another version."""
    written = spelling(text)
    if written is None:
        return []
    ranked = [
        (far, image.name)
        for image in catalogue.images.values()
        if (far := min(_far(written, name) for name in _spellings(image))) < _NOT_NEAR
    ]
    return [name for _, name in sorted(ranked)[:_MOST_SUGGESTIONS]]


def _far(written: Spelling, name: Spelling) -> int:
    """The distance where it is one slip in four letters or fewer, or only the version is another."""
    tolerance = max(1, len(written.letters) // 4)
    is_version = written.head == name.head
    if not is_version and abs(len(written.letters) - len(name.letters)) > tolerance:
        return _NOT_NEAR
    far = distance(written.letters, name.letters)
    return far if is_version or far <= tolerance else _NOT_NEAR


def _is_spelled(written: Spelling, image: Image) -> bool:
    return any(written.means(name) for name in _spellings(image))


def _started(catalogue: Catalogue, text: str) -> list[Image]:
    written = spelling(text)
    if written is None:
        return []
    return [image for image in catalogue.images.values() if any(map(written.begins, _spellings(image)))]


def _spellings(image: Image) -> list[Spelling]:
    return [one for one in map(spelling, image.names) if one is not None]


def _either(names: list[str]) -> str:
    return " or ".join(names)


def _all(catalogue: Catalogue) -> str:
    return ", ".join(catalogue.images) or "nothing in it"
