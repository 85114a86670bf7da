"""Quantities, compared by value."""

from typing import Any

import pytest

from podtask.core import quantity

SAME: dict[str, tuple[Any, Any]] = {
    "one spelling": ("1", "1"),
    "a number and a text": (1, "1"),
    "a float": (0.5, "500m"),
    "a small float": (1e-07, "100n"),
    "thousandths": ("1", "1000m"),
    "powers of 1024": ("1Gi", "1024Mi"),
    "powers of 1000": ("1G", "1e9"),
    "a point": (".5", "0.50"),
    "micro": ("1u", "1000n"),
    "no amount at all": ("all", "all"),
}
DIFFERENT: dict[str, tuple[Any, Any]] = {
    "more": ("1", "2"),
    "another unit": ("1G", "1Gi"),
    "no amount": ("x", "1"),
    "neither is one": ("x", "y"),
    "an exponent beyond all machines": ("1e9999", "1e9998"),
    "a truth": (True, 1),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_same(one: Any, other: Any) -> None:
    assert quantity.is_same(one, other)
    assert quantity.is_same(other, one)


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_different(one: Any, other: Any) -> None:
    assert not quantity.is_same(one, other)
    assert not quantity.is_same(other, one)
