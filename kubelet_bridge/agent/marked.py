"""Our lines in a file that belongs to others: they stand between two marks, all else stays as it is. Pure."""

from __future__ import annotations

from typing import Sequence

BEGIN = "# BEGIN kubelet-bridge"
END = "# END kubelet-bridge"


def with_block(text: str, lines: Sequence[str]) -> str:
    """The text with these lines between our marks, in place of what was there; without lines there are no marks.

    A mark that has lost its partner is dropped alone: what follows it may be somebody's.
    """
    kept, place = _without(text.splitlines())
    block = [BEGIN, *lines, END] if lines else []
    if place is None:
        place = len(kept)
    return "".join(f"{line}\n" for line in [*kept[:place], *block, *kept[place:]])


def _without(lines: list[str]) -> tuple[list[str], int | None]:
    """The lines that are not ours, and where ours began."""
    kept: list[str] = []
    place: int | None = None
    at = 0
    while at < len(lines):
        mark = lines[at].strip()
        if mark == BEGIN:
            end = _end(lines, at + 1)
            place = len(kept) if place is None else place
            at = at + 1 if end is None else end + 1
            continue
        if mark != END:
            kept.append(lines[at])
        at += 1
    return kept, place


def _end(lines: list[str], start: int) -> int | None:
    for at in range(start, len(lines)):
        if lines[at].strip() == END:
            return at
        if lines[at].strip() == BEGIN:
            return None
    return None
