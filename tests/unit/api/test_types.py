"""The small types: strict where pydantic is lenient, as the server is."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import TypeAdapter, ValidationError

from podtask.api import types


def test_a_time_is_written_to_the_millisecond_in_utc() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678_999, tzinfo=UTC)
    assert types.rfc3339(moment) == "2026-01-02T03:04:05.678Z"
    east = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    assert types.rfc3339(east) == "2026-01-02T01:04:05.000Z"


READ = ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05+02:00")
NOT_READ = ("2026-01-02", "2026-01-02 03:04:05Z", "2026-01-02T03:04:05", "1767323045", 1767323045, "", None, True)


@pytest.mark.parametrize("text", READ)
def test_times_that_are_read(text: str) -> None:
    adapter: TypeAdapter[datetime] = TypeAdapter(types.Timestamp)
    moment = adapter.validate_python(text)
    assert moment.tzinfo is not None
    assert adapter.validate_python(moment) == moment
    assert adapter.dump_python(moment, mode="json") == types.rfc3339(moment)
    assert adapter.dump_python(moment) == moment


@pytest.mark.parametrize("value", NOT_READ)
def test_times_that_are_not(value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(types.Timestamp).validate_python(value)


@pytest.mark.parametrize("value", ["0", "1.5", ".5", "5.", "500m", "-1", "+1Gi", "1e3", "1E-3", "100u", 7, 0.5, 1e3])
def test_amounts(value: object) -> None:
    assert TypeAdapter(types.Quantity).validate_python(value) == value


@pytest.mark.parametrize(
    "value", ["", "512MB", "1 Gi", "Gi", "1e", "0x1", "1\n", True, -1, -0.5, 1e300, float("inf"), float("nan")]
)
def test_what_is_no_amount(value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(types.Quantity).validate_python(value)
