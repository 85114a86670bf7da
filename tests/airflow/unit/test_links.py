"""The button on a task's page."""

import pytest
from podtask_airflow import PodTaskOperator
from podtask_airflow.links import podtask as links


def test_without_a_dashboard_the_command_is_shown() -> None:
    assert links.address("ns", "t-1", "pod") == "#kubectl -n ns describe podtask t-1"


def test_the_dashboard_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__PODTASK__DASHBOARD_URL", "https://d.example/{namespace}/{name}?p={pod}")
    assert links.address("n s", "t-1", "p") == "https://d.example/n%20s/t-1?p=p"


def test_the_link_reads_the_task_s_xcoms(monkeypatch: pytest.MonkeyPatch) -> None:
    xcoms = {"pod_namespace": "ns", "podtask_name": "t-1"}
    monkeypatch.setattr(links, "xcom_of", lambda _, key: xcoms.get(key))
    (link,) = PodTaskOperator(task_id="t", image="i").operator_extra_links
    assert link.name == "PodTask"
    assert link.get_link(None, ti_key=None) == "#kubectl -n ns describe podtask t-1"
    xcoms.clear()
    assert link.get_link(None, ti_key=None) == ""
