"""The delay between attempts."""

import pytest

from podtask.core.attempts import delay_seconds
from podtask.core.snapshot import BackoffSpec

WAITS = {
    "the first waits the initial time": (BackoffSpec(), 1, 10),
    "each further one is twice as long": (BackoffSpec(), 3, 40),
    "never longer than the cap": (BackoffSpec(), 10, 360),
    "a count of none is taken for the first": (BackoffSpec(), 0, 10),
    "a thousand failures are no overflow": (BackoffSpec(factor=10, max_seconds=400), 1000, 400),
    "a factor of one stays": (BackoffSpec(factor=1), 7, 10),
}


@pytest.mark.parametrize(("spec", "failures", "want"), WAITS.values(), ids=WAITS)
def test_delay(spec: BackoffSpec, failures: int, want: float) -> None:
    got = delay_seconds(spec, failures, "uid")
    assert want <= got <= want * 1.1
    assert got == delay_seconds(spec, failures, "uid")


def test_tasks_that_failed_together_do_not_return_together() -> None:
    assert len({delay_seconds(BackoffSpec(), 1, str(n)) for n in range(50)}) == 50
