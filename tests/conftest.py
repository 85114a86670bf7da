"""What every test run shares: the end of what was started once for all workers."""

import pytest

from tests.harness import shared


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the shared controller, in the process that runs them all and after its workers are done."""
    if hasattr(config, "workerinput"):
        return
    factory = getattr(config, "_tmp_path_factory", None)
    if factory is None:
        return
    note = shared.read_note(factory.getbasetemp() / "controller.json")
    if note is not None:
        shared.end_process(note["pid"])
