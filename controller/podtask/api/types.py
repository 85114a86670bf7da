"""Types of fields with their limits.

Every string, list and map has a maximum: the API server estimates the cost of CEL from it, and refuses a CRD whose
estimate is too high.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

PRESERVE: JsonDict = {"x-kubernetes-preserve-unknown-fields": True}
SET: JsonDict = {"x-kubernetes-list-type": "set"}


def map_by(key: str) -> JsonDict:
    """Return the marks of a list whose entries are identified by one field."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def _refuse_repeats(of: Callable[[Any], object]) -> AfterValidator:
    def check(entries: Sequence[Any]) -> Sequence[Any]:
        seen = set()
        for entry in entries:
            if of(entry) in seen:
                raise ValueError(f"{of(entry)!r} is in the list twice")
            seen.add(of(entry))
        return entries

    return AfterValidator(check)


DISTINCT = _refuse_repeats(lambda entry: entry)
"""Refuses a repeated entry, as the server does in a list of type set."""
DISTINCT_NAMES = _refuse_repeats(lambda entry: entry.name)
DISTINCT_PATHS = _refuse_repeats(lambda entry: entry.mount_path)
DISTINCT_TYPES = _refuse_repeats(lambda entry: entry.type)
DISTINCT_NUMBERS = _refuse_repeats(lambda entry: entry.number)

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


def _checked_rfc3339(value: object) -> object:
    """Refuse what the server refuses: pydantic alone accepts `0` and `2026-01-01 10:00` as times."""
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC3339.fullmatch(value)):
        return value
    raise ValueError("a time has the form 2026-01-02T03:04:05Z")


def rfc3339(moment: datetime) -> str:
    """Return a time in UTC with milliseconds: `2026-01-02T03:04:05.678Z`."""
    utc = moment.astimezone(UTC)
    return utc.strftime("%Y-%m-%dT%H:%M:%S.") + f"{utc.microsecond // 1000:03d}Z"


DOMAIN_PATH = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[A-Za-z0-9/\-._~%!$&'()*+,;=:]+$"
"""A DNS subdomain, a slash and a path, as in `managedBy` of a Job."""
DAY = 86_400
YEAR = 366 * DAY

Name = Annotated[str, Field(min_length=1, max_length=253)]
"""The name of an object."""
DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
"""An RFC 1123 label: a container's or a volume's name."""
ShortText = Annotated[str, Field(max_length=256)]
Text = Annotated[str, Field(max_length=4096)]
LongText = Annotated[str, Field(max_length=131_072)]
"""The kernel's limit for one argument or environment string (MAX_ARG_STRLEN)."""
Path = Annotated[str, Field(min_length=1, max_length=4096)]
Flag = Annotated[bool, Field(strict=True)]
"""A boolean. `0` and `"yes"`, which pydantic accepts by default, are refused as by the server."""
Int = Annotated[int, Field(strict=True)]
"""An integer, not `"1"` or `true`. Each use adds its bounds."""
Seconds = Annotated[Int, Field(ge=0, le=YEAR)]
PositiveSeconds = Annotated[Int, Field(ge=1, le=YEAR)]
Int32 = Annotated[Int, Field(ge=0, le=2**31 - 1)]
Int64 = Annotated[Int, Field(ge=0, le=2**63 - 1)]
Count = Annotated[Int, Field(ge=0, le=1000)]
ExitCode = Annotated[Int, Field(ge=-2_147_483_648, le=2_147_483_647)]
Bytes = Annotated[Int, Field(ge=0, le=9_007_199_254_740_991)]
Timestamp = Annotated[AwareDatetime, BeforeValidator(_checked_rfc3339), PlainSerializer(rfc3339, when_used="json")]
Opaque = Annotated[dict[str, Any], Field(json_schema_extra=PRESERVE)]
"""An object of Kubernetes with all its fields, those of newer clusters included."""
Quantity = Annotated[
    Annotated[Int, Field(ge=0, le=9_007_199_254_740_991)]
    | Annotated[float, Field(strict=True, ge=0, le=9_007_199_254_740_991, allow_inf_nan=False)]
    | Annotated[
        str,
        Field(
            min_length=1,
            max_length=64,
            pattern=r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$",
        ),
    ],
    Field(json_schema_extra=PRESERVE),
]
"""A quantity of Kubernetes: `2`, `0.5`, `"500m"`, `"512Mi"`."""
Labels = Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=64)]
Annotations = Annotated[dict[str, Annotated[str, Field(max_length=65_536)]], Field(max_length=64)]


class Model(BaseModel):
    """Base of the models. Unknown fields are ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )


class OpenModel(Model):
    """Base of models that keep unknown fields."""

    model_config = ConfigDict(extra="allow", json_schema_extra=PRESERVE)
