"""Structs from rows: a struct's fields are the names of the columns it is read from."""

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


def select(kind: type[T], table: str, clause: str) -> str:
    """The query whose rows ``convert`` makes into ``kind``; ``table`` and ``clause`` are constants of this program."""
    return f"SELECT {', '.join(kind.__struct_fields__)} FROM {table} {clause}"  # noqa: S608


def convert(kind: type[T], rows: Iterable[tuple[Any, ...]]) -> list[T]:
    """Rows of ``select`` as structs."""
    return [msgspec.convert(dict(zip(kind.__struct_fields__, row, strict=True)), kind) for row in rows]
