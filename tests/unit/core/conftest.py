"""Time in these tests is read off the page: what is due at a whole second is due then, and not within the next."""

import pytest

from podtask.core import times


@pytest.fixture(autouse=True)
def _no_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "spread_seconds", lambda _: 0.0)
