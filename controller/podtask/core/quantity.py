"""Kubernetes quantities (`1`, `0.5`, `"500m"`, `"1Gi"`), compared by value."""

import re
from decimal import Decimal
from typing import Any

_FORM = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:[eE]([+-]?[0-9]{1,3})|([KMGTPE]i|[numkMGTPE]))?", re.ASCII)
_UNITS: dict[str | None, Decimal] = {
    None: Decimal(1),
    **{unit: Decimal(1000) ** power for unit, power in zip("numkMGTPE", (-3, -2, -1, *range(1, 7)), strict=True)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)},
}


def is_same(one: Any, other: Any) -> bool:
    """Whether two quantities have the same value. Other values are compared as text."""
    if str(one) == str(other):
        return True
    values = _value(one), _value(other)
    return None not in values and values[0] == values[1]


def _value(amount: Any) -> Decimal | None:
    found = _FORM.fullmatch(str(amount))
    if found is None:
        return None
    number, exponent, unit = found.groups()
    return Decimal(number).scaleb(int(exponent)) if exponent else Decimal(number) * _UNITS[unit]
