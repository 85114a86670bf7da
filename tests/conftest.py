"""What every test run shares: no example has a deadline, and what was started once for all workers is ended."""

import pytest
from hypothesis import HealthCheck, settings

from tests.harness import shared
from tests.harness.airflow import Airflow

settings.register_profile("no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no clock")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the shared controllers and Airflows, in the process that runs them all and after its workers are done.

    Right after this pytest gives its directory up, and removes it where three other runs have begun since: a note that
    is read later may be gone, and what it told of would run on.
    """
    config = session.config
    if hasattr(config, "workerinput"):
        return
    session._setupstate.teardown_exact(None)  # of a run that was interrupted; its fixtures still need a controller
    factory = getattr(config, "_tmp_path_factory", None)
    if factory is None:
        return
    for path in factory.getbasetemp().glob("airflow-*.json"):
        Airflow.found(path).stop()
    for path in factory.getbasetemp().glob("controller*.json"):
        note = shared.read_note(path)
        if note is not None and "pid" in note:  # notes without one only say that something was prepared
            shared.end_process(note["pid"])
