"""What every test run shares: the end of what was started once for all workers."""

import pytest

from tests.harness import shared
from tests.harness.airflow import Airflow


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the shared controllers and Airflows, in the process that runs them all and after its workers are done."""
    if hasattr(config, "workerinput"):
        return
    factory = getattr(config, "_tmp_path_factory", None)
    if factory is None:
        return
    for path in factory.getbasetemp().glob("airflow-*.json"):
        Airflow.found(path).stop()
    for path in factory.getbasetemp().glob("controller*.json"):
        note = shared.read_note(path)
        if note is not None and "pid" in note:  # notes without one only say that something was prepared
            shared.end_process(note["pid"])
