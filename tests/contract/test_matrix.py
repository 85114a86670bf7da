"""Which tests an Airflow version may go without: those of modules that can be imported where there is no Airflow."""

import os
import re
import subprocess
import sys

from airflows import versions
from tests.airflow import matrix
from tests.harness.controller import ROOT


def test_what_is_left_out_does_not_import_airflow() -> None:
    modules = ", ".join(f"podtask_airflow.{module}" for module in matrix.WITHOUT_AIRFLOW.values())
    program = f"import sys, {modules}; sys.exit('airflow' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "airflow-provider/src")}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    for name, module in matrix.WITHOUT_AIRFLOW.items():
        assert (ROOT / matrix.UNITS / f"test_{name}.py").exists()
        path = ROOT / "airflow-provider/src/podtask_airflow" / f"{module.replace('.', '/')}.py"
        text = path.read_text()
        assert not re.search(r"(?:from|import) airflow\b", text)
        assert "airflow." not in text.replace("podtask_airflow.", ""), "nor by name, within a function"


def test_every_version_runs_units_an_operator_and_a_trigger() -> None:
    tests = {environment.name: matrix.tests_of(environment) for environment in versions.supported()}
    assert all(matrix.UNITS in wanted for wanted in tests.values())
    assert [name for name, wanted in tests.items() if any("--ignore" in word for word in wanted)] == ["3.1.8", "3.2.2"]
    assert tests["3.3.2"] == (matrix.UNITS, "tests/airflow/apiserver")
    assert tests["2.11.0"] == (matrix.UNITS, matrix.OPERATOR)
    others = [wanted for name, wanted in tests.items() if name not in ("3.3.2", "2.11.0")]
    assert all(wanted[-2:] == matrix.ONE_OF_EACH for wanted in others)
