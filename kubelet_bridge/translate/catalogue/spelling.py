"""Loose spelling of names: case and separators do not matter, where a name may be parted at all.

``ubuntu-22.04`` is also ``Ubuntu 22.04``, ``ubuntu_22-04`` and ``ubuntu2204``, but neither ``ubuntu-2.204`` nor
``ub-untu-22.04``; and ``debian-1.2`` is not ``debian-12``.
"""

import functools
import re

import msgspec

_PERMITTED = re.compile(r"[a-z0-9 ._:-]*[a-z0-9][a-z0-9 ._:-]*", re.ASCII)
_SEPARATORS = re.compile(r"[ ._:-]+", re.ASCII)
_BETWEEN_KINDS = re.compile(r"(?<=[a-z])(?=[0-9])|(?<=[0-9])(?=[a-z])", re.ASCII)
_VERSIONED = re.compile(r"[a-z][a-z ._-]*[0-9][0-9 ._-]*", re.ASCII)
_LONGEST = 100


class Spelling(msgspec.Struct, frozen=True):
    """A name without case and separators; ``cuts`` are the offsets in ``letters`` at which it was parted."""

    letters: str
    cuts: frozenset[int]

    @property
    def joints(self) -> frozenset[int]:
        """Where it may be parted: where it is, and wherever letters and digits meet."""
        return self.cuts | {match.start() for match in _BETWEEN_KINDS.finditer(self.letters)}

    @property
    def head(self) -> str:
        """What stands before the first digit: the name without its version."""
        return _head(self.letters)

    def means(self, name: "Spelling") -> bool:
        """Whether it is ``name``, spelled loosely."""
        return self.letters == name.letters and self.cuts <= name.joints

    def begins(self, name: "Spelling") -> bool:
        """Whether it is the first words of ``name``, and not all of them: ``ubuntu`` and ``ubuntu-22``."""
        joints, length = name.joints, len(self.letters)
        return name.letters.startswith(self.letters) and length in joints and self.cuts <= joints


@functools.lru_cache(maxsize=1024)
def _head(letters: str) -> str:
    return re.split("[0-9]", letters, maxsplit=1)[0]


@functools.lru_cache(maxsize=1024)
def spelling(text: str) -> Spelling | None:
    """How ``text`` is spelled; None when no name can be written like that."""
    lower = text.strip().lower()
    if not text.isascii() or len(lower) > _LONGEST or not _PERMITTED.fullmatch(lower):
        return None
    letters, cuts = "", set()
    for word in filter(None, _SEPARATORS.split(lower)):
        cuts.add(len(letters))
        letters += word
    return Spelling(letters, frozenset(cuts - {0}))


def has_version(text: str) -> bool:
    """Whether ``text`` is a word or several, and then a number: ``debian-12``."""
    return _VERSIONED.fullmatch(text.strip().lower()) is not None


def distance(one: str, other: str) -> int:
    """How many letters were left out, put in, mistaken or swapped with their neighbour (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, left in enumerate(one):
        before, last, row = row, before, [i + 1]
        for j, right in enumerate(other):
            cost = min(before[j + 1] + 1, row[j] + 1, before[j] + (left != right))
            if i and j and left == other[j - 1] and one[i - 1] == right:
                cost = min(cost, last[j - 1] + 1)
            row.append(cost)
    return row[-1]
