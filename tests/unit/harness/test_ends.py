"""What a run started for all of its workers ends with it, whatever becomes of pytest's directory meanwhile."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import HANG_SECONDS
from tests.harness.controller import ROOT

CONFTEST = "from tests.conftest import *"
TEST = """
import json, os
from tests.harness import shared

def test_it(pytestconfig, tmp_path_factory):
    directory = shared.shared_directory(pytestconfig, tmp_path_factory)
    (directory / "controller-one.json").write_text(json.dumps({"pid": int(os.environ["STARTED"])}))
    (directory / "controller-two.json").write_text("{}")
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_a_process_ends_with_the_run(tmp_path: Path, workers: int) -> None:
    """pytest keeps the directories of some runs, here of none, and gives this one's up before the run is over."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TEST)
    with subprocess.Popen(["sleep", "600"]) as started:
        try:
            subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(workers), "-c", os.devnull,
                 f"--rootdir={tmp_path}", "-o", "tmp_path_retention_count=0", str(tmp_path)],
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/controller:{ROOT}/hack", "STARTED": str(started.pid),
                     "PYTEST_DEBUG_TEMPROOT": str(tmp_path)},
                cwd=tmp_path,
                check=True,
            )  # fmt: skip
            assert started.wait(HANG_SECONDS) == -15
        finally:
            started.kill()
