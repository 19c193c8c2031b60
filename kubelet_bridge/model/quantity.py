"""Kubernetes quantities: ``500m``, ``1.5Gi``, ``2e3``. Exact: no float is ever involved.

Follows ``apimachinery/pkg/api/resource/quantity.go``: the same spellings are accepted, values are kept to a billionth
and rounded away from zero below that, and the canonical form is the one the API server stores.
"""

import enum
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from kubelet_bridge.errors import Terminal

_TEXT = re.compile(r"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,4}|)", re.ASCII)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"": 0, "Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX = {exponent: suffix for suffix, exponent in _BINARY.items()}
_SMALLEST = Fraction(1, 10**9)
_LARGEST = 2**63 - 1
_LONGEST = 64
_LARGEST_EXPONENT = 64


class InvalidQuantity(Terminal, ValueError):
    """Not a quantity."""

    def __init__(self, text: object) -> None:
        super().__init__(f"{text!r} is not a Kubernetes quantity such as 500m, 2 or 1.5Gi", reason="InvalidQuantity")


class Format(enum.StrEnum):
    """Which of the three spellings a quantity is written in."""

    DECIMAL = "DecimalSI"
    BINARY = "BinarySI"
    EXPONENT = "DecimalExponent"


@dataclass(frozen=True, order=True, slots=True)
class Quantity:
    """An exact amount; two are equal when their values are, however they are spelled."""

    value: Fraction
    format: Format = field(default=Format.DECIMAL, compare=False)

    @classmethod
    def parse(cls, text: str | int | float) -> "Quantity":
        """Read what Kubernetes would read; numbers stand for themselves, as in YAML.

        Raises:
            InvalidQuantity: it is no quantity (``NaN``, ``1K``, ``1 Gi``, ``1_000``, booleans, nothing).
        """
        if isinstance(text, bool) or not isinstance(text, str | int | float):
            raise InvalidQuantity(text)
        match = _TEXT.fullmatch(str(text)) if len(str(text)) <= _LONGEST else None
        if match is None:
            raise InvalidQuantity(text)
        sign, number, suffix = match.groups()
        multiplier, form = _multiplier(suffix, text)
        size = _nanos(Fraction(number.removesuffix(".")) * multiplier)
        if form is Format.BINARY:
            size = min(size, Fraction(_LARGEST))
        return cls(-size if sign == "-" else size, form)

    @classmethod
    def of_bytes(cls, size: int) -> "Quantity":
        """A number of bytes, to be written with ``Ki``, ``Mi``, ``Gi``."""
        return cls(Fraction(size), Format.BINARY)

    @classmethod
    def total(cls, quantities: Iterable["Quantity"]) -> "Quantity":
        """The sum; zero of none."""
        return sum(quantities, start=cls(Fraction(0)))

    def __add__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.value + other.value, self.format if self.value else other.format)

    def __str__(self) -> str:
        return self.canonical()

    def __bool__(self) -> bool:
        return bool(self.value)

    def ceil(self, unit: int | Fraction = 1) -> int:
        """How many whole ``unit`` hold it: ``parse("1500m").ceil() == 2``."""
        return math.ceil(self.value / unit)

    def canonical(self) -> str:
        """The form the API server stores: no fraction, the largest suffix without loss (``1.5Gi``: ``1536Mi``)."""
        if not self.value:
            return "0"
        if self.format is Format.BINARY and abs(self.value) >= 1024 and self.value.denominator == 1:
            return _canonical_binary(int(self.value))
        return _canonical_decimal(self.value, exponent_form=self.format is Format.EXPONENT)


def _multiplier(suffix: str, text: object) -> tuple[Fraction, Format]:
    if suffix in _DECIMAL:
        return Fraction(10) ** _DECIMAL[suffix], Format.DECIMAL
    if suffix in _BINARY:
        return Fraction(2) ** _BINARY[suffix], Format.BINARY
    exponent = int(suffix[1:])
    if abs(exponent) > _LARGEST_EXPONENT:
        raise InvalidQuantity(text)
    return Fraction(10) ** exponent, Format.EXPONENT


def _nanos(size: Fraction) -> Fraction:
    return math.ceil(size / _SMALLEST) * _SMALLEST


def _canonical_binary(value: int) -> str:
    exponent = 0
    while exponent < 60 and value % 1024 == 0:
        value, exponent = value // 1024, exponent + 10
    return f"{value}{_BINARY_SUFFIX[exponent]}"


def _canonical_decimal(value: Fraction, *, exponent_form: bool) -> str:
    number, exponent = int(value / _SMALLEST), -9
    while number % 1000 == 0 and (exponent < 18 or exponent_form):
        number, exponent = number // 1000, exponent + 3
    if exponent_form:
        return f"{number}e{exponent}" if exponent else str(number)
    return f"{number}{_DECIMAL_SUFFIX[exponent]}"
