"""The DAGs that README.md, the guide and the package's README show are DAGs on every supported Airflow."""

import re
from pathlib import Path
from typing import Any

import pytest
from podtask_airflow import PodTaskOperator

ROOT = Path(__file__).resolve().parents[3]
PAGES = ("README.md", "docs/getting-started/airflow.md", "airflow-provider/README.md")
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def shown(page: str) -> list[str]:
    return PYTHON.findall((ROOT / page).read_text(encoding="utf-8"))


def executed(program: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    exec(compile(program, "guide", "exec"), found)  # noqa: S102 - a block of our own documentation
    return found


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_can_be_imported(page: str) -> None:
    blocks = shown(page)
    assert blocks
    for block in blocks:
        executed(block)


@pytest.mark.parametrize("page", PAGES[:2])
def test_the_first_dag_has_one_task_whose_result_is_pushed(page: str) -> None:
    (program,) = [block for block in shown(page) if "with DAG(" in block]
    (task,) = executed(program)["dag"].tasks
    assert isinstance(task, PodTaskOperator)
    assert (task.task_id, task.deferrable, task.do_xcom_push) == ("count_rows", True, True)
