"""What the generator writes, and above all what it refuses."""

import enum
from datetime import timedelta
from typing import Annotated, Any, Literal

import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, create_model

from podtask.api.types import PRESERVE, Opaque, Quantity
from podtask.crdgen.schema import InexpressibleError, structural

Word = Annotated[str, Field(max_length=10)]
WHOLE = Annotated[int, Field(ge=0, le=5)]


class Colour(enum.StrEnum):
    """A colour."""

    RED = "Red"
    BLUE = "Blue"


class Inner(BaseModel):
    """Something inside."""

    word: Word


class Open(BaseModel):
    """Keeps what it does not know."""

    model_config = ConfigDict(extra="allow", json_schema_extra=PRESERVE)
    word: Word | None = None


class Endless(BaseModel):
    """Contains itself."""

    inside: "Endless | None" = None


def _field(annotation: Any, default: Any = None) -> dict[str, Any]:
    schema = structural(create_model("Model", field=(annotation, default)))
    found: dict[str, Any] = schema["properties"]["field"]
    return found


WRITTEN: dict[str, tuple[Any, dict[str, Any]]] = {
    "an optional string": (Word | None, {"type": "string", "maxLength": 10}),
    "an enum": (Colour | None, {"type": "string", "description": "A colour.", "enum": ["Red", "Blue"]}),
    "a literal": (Literal["a"] | None, {"type": "string", "enum": ["a"]}),
    "a time": (AwareDatetime | None, {"type": "string", "format": "date-time"}),
    "a bool": (bool | None, {"type": "boolean"}),
    "a small integer": (
        Annotated[int, Field(ge=0, le=5)] | None,
        {"type": "integer", "format": "int32", "minimum": 0, "maximum": 5},
    ),
    "a large integer": (
        Annotated[int, Field(ge=0, le=2**31)] | None,
        {"type": "integer", "format": "int64", "minimum": 0, "maximum": 2**31},
    ),
    "a list is atomic": (
        Annotated[list[Word], Field(max_length=3)] | None,
        {
            "type": "array",
            "maxItems": 3,
            "x-kubernetes-list-type": "atomic",
            "items": {"type": "string", "maxLength": 10},
        },
    ),
    "all integers of a width": (
        Annotated[int, Field(ge=-(2**31), le=2**31 - 1)] | None,
        {
            "type": "integer",
            "format": "int32",
        },
    ),
    "counts": (
        Annotated[int, Field(ge=0, le=2**63 - 1)] | None,
        {
            "type": "integer",
            "format": "int64",
            "minimum": 0,
        },
    ),
    "a map": (
        Annotated[dict[str, Word], Field(max_length=3)] | None,
        {"type": "object", "maxProperties": 3, "additionalProperties": {"type": "string", "maxLength": 10}},
    ),
    "anything": (Opaque | None, {"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
    "a model inside": (
        Inner | None,
        {
            "type": "object",
            "description": "Something inside.",
            "required": ["word"],
            "properties": {"word": {"type": "string", "maxLength": 10}},
        },
    ),
    "an open model": (
        Open | None,
        {
            "type": "object",
            "description": "Keeps what it does not know.",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {"word": {"type": "string", "maxLength": 10}},
        },
    ),
    "words of its own": (
        Annotated[Inner | None, Field(description="said\n  elsewhere")],
        {
            "type": "object",
            "description": "said elsewhere",
            "required": ["word"],
            "properties": {"word": {"type": "string", "maxLength": 10}},
        },
    ),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_written(case: str) -> None:
    annotation, want = WRITTEN[case]
    assert _field(annotation) == want


@pytest.mark.parametrize(
    ("annotation", "default", "want"),
    [
        (WHOLE, 3, {"type": "integer", "format": "int32", "default": 3, "minimum": 0, "maximum": 5}),
        (bool, False, {"type": "boolean", "default": False}),
        (Word, "a", {"type": "string", "maxLength": 10, "default": "a"}),
        (Colour, Colour.RED, {"type": "string", "description": "A colour.", "enum": ["Red", "Blue"], "default": "Red"}),
    ],
)
def test_a_default_of_a_scalar(annotation: Any, default: Any, want: dict[str, Any]) -> None:
    assert _field(annotation, default) == want


def test_an_amount_is_a_number_or_a_text() -> None:
    got = _field(Annotated[Quantity | None, Field(description="how much")])
    assert got.pop("pattern")
    assert got == {
        "x-kubernetes-preserve-unknown-fields": True,
        "description": "how much",
        "minimum": 0,
        "maximum": 2**53 - 1,
        "minLength": 1,
        "maxLength": 64,
        "minItems": 1,
        "maxItems": 0,
        "minProperties": 1,
        "maxProperties": 0,
        "not": {"enum": [True, False]},
    }


REAL = Annotated[float, Field(ge=0, le=5)]
REFUSED: dict[str, Any] = {
    "a string without a maximum": str,
    "a list without a maximum": list[Word],
    "a list of strings without a maximum": Annotated[list[str], Field(max_length=3)],
    "a map without a maximum": dict[str, Word],
    "an integer without bounds": int,
    "an integer with one bound": Annotated[int, Field(ge=0)],
    "an integer beyond 64 bits": Annotated[int, Field(ge=0, le=2**64)],
    "an exclusive bound": Annotated[int, Field(gt=0, le=5)],
    "a multiple": Annotated[int, Field(ge=0, le=5, multiple_of=5)],
    "a float": Annotated[float, Field(ge=0, le=1)],
    "a duration": timedelta,
    "bytes": Annotated[bytes, Field(max_length=5)],
    "a set": Annotated[set[Word], Field(max_length=3)],
    "a tuple": tuple[Word, Word],
    "anything at all": Any,
    "a dict of anything without the mark": dict[str, Any],
    "an int or a string without the mark": Annotated[int, Field(ge=0, le=1)] | Word,
    "an amount without the mark": WHOLE | REAL | Word,
    "an amount of something else": Annotated[WHOLE | bool | Word, Field(json_schema_extra=PRESERVE)],
    "an amount with two bounds": Annotated[
        WHOLE | Annotated[float, Field(ge=0, le=6)] | Word, Field(json_schema_extra=PRESERVE)
    ],
    "an amount with an exclusive bound": Annotated[
        WHOLE | Annotated[float, Field(ge=0, le=5, gt=-1)] | Word, Field(json_schema_extra=PRESERVE)
    ],
    "a union of models": Inner | Open,
    "a model that contains itself": Endless,
    "extra fields without the mark": create_model("Loose", __config__=ConfigDict(extra="allow"), word=(Word, ...)),
    "a mark that is not known": Annotated[Word, Field(json_schema_extra={"x-kubernetes-embedded-resource": True})],
    "an example": Annotated[Word, Field(examples=["a"])],
    "a date": Annotated[str, Field(max_length=5, json_schema_extra={"format": "date"})],
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_its_path(case: str) -> None:
    with pytest.raises(InexpressibleError, match=r"^Model\.field"):
        _field(Annotated[REFUSED[case] | None, Field()] if REFUSED[case] is not Any else Any)


def test_a_model_that_refuses_extra_fields_is_one_that_drops_them() -> None:
    """The server has no "closed": it prunes what is not declared, or refuses it under strict validation."""
    closed = create_model("Closed", __config__=ConfigDict(extra="forbid"), word=(Word, ...))
    assert _field(closed | None) == _field(create_model("Plain", word=(Word, ...)) | None)


@pytest.mark.parametrize(
    ("annotation", "default"),
    [(Annotated[list[Word], Field(max_length=3)], ["a"]), (Inner, Inner(word="a")), (Quantity, 1), (Opaque, {})],
)
def test_a_default_of_anything_but_a_scalar_is_refused(annotation: Any, default: Any) -> None:
    with pytest.raises(InexpressibleError, match="default"):
        _field(annotation, default=default)
