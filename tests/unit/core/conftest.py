"""The spread of times is off in these tests, so that a time due at a whole second is due exactly then."""

import pytest

from podtask.core import times


@pytest.fixture(autouse=True)
def _no_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "spread_seconds", lambda _: 0.0)
