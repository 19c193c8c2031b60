"""Quantities; every expectation here was taken from ``resource.ParseQuantity`` of k8s.io/apimachinery v0.36.3."""

from fractions import Fraction

import pytest

from kubelet_bridge.model.quantity import InvalidQuantity, Quantity


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"), ("0Gi", "0"), ("007", "7"), ("1.", "1"), (".5", "500m"), ("+1.5", "1500m"), ("-0.5", "-500m"),
        ("1500m", "1500m"), ("2000m", "2"), ("0.1m", "100u"), ("100n", "100n"), ("0.0000000001", "1n"), ("1.G", "1G"),
        ("1000k", "1M"), ("1.5k", "1500"), ("1E", "1E"), ("1e3", "1e3"), ("1E3", "1e3"), ("1500e-3", "1500e-3"),
        ("12e5", "1200e3"), ("1e0", "1"), ("1024", "1024"), ("1023Ki", "1023Ki"), ("1024Ki", "1Mi"),
        ("1.5Gi", "1536Mi"), ("1024Mi", "1Gi"), ("0.0001Ki", "102400u"), ("0.5Ki", "512"), ("1.1Ki", "1126400m"),
        ("10Ei", "9223372036854775807"),
    ],
)  # fmt: skip
def test_canonical_form_is_the_api_servers(text: str, canonical: str) -> None:
    assert Quantity.parse(text).canonical() == canonical


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", "1 Gi", "NaN", "Infinity", "-inf", "1_000", "1K", "1ki", "1mi", "1gb", "1e", "1e+", "--1", "1.2.3",
     "0x10", "1e1e1", ".", "-", "Gi", "\u0663", "1\n", "9" * 5000,
     "1e9999", True, None, [], float("nan"), float("inf")],
)  # fmt: skip
def test_what_kubernetes_refuses_is_refused(text: object) -> None:
    with pytest.raises(InvalidQuantity):
        Quantity.parse(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(("given", "value"), [(2, 2), (0.5, Fraction(1, 2)), (1e22, 10**22), (0, 0)])
def test_numbers_stand_for_themselves(given: float, value: Fraction | int) -> None:
    assert Quantity.parse(given).value == value


def test_equal_amounts_are_equal_however_spelled() -> None:
    assert Quantity.parse("1Gi") == Quantity.parse("1024Mi") == Quantity.parse(2**30)
    assert Quantity.parse("1G") < Quantity.parse("1Gi")
    assert hash(Quantity.parse("1000m")) == hash(Quantity.parse("1"))


def test_sum_keeps_the_spelling_of_its_first_amount() -> None:
    assert Quantity.total(map(Quantity.parse, ("512Mi", "0.5Gi"))).canonical() == "1Gi"
    assert Quantity.total([]).canonical() == "0"


@pytest.mark.parametrize(
    ("text", "unit", "whole"), [("1500m", 1, 2), ("1", 1, 1), ("1G", 2**20, 954), ("1Gi", 2**20, 1024), ("0", 2**20, 0)]
)
def test_ceil_never_gives_less_than_was_asked(text: str, unit: int, whole: int) -> None:
    assert Quantity.parse(text).ceil(unit) == whole
