"""The real API server, under strict validation, takes what the Airflow operator builds."""

from typing import Any

import pytest

from tests.crd import judge, provider
from tests.crd.server import Json, PodTasks

pytestmark = pytest.mark.apiserver


def _all(index: int) -> dict[str, Any]:
    """As many arguments as go together, each with another of its values."""
    return provider.completed({name: values[index % len(values)] for name, values in provider.SAMPLES.items()})


def _here(obj: Json, name: str) -> Json:
    return {**obj, "metadata": {**{k: v for k, v in obj["metadata"].items() if k != "namespace"}, "name": name}}


@pytest.mark.parametrize("index", range(6))
def test_all_arguments_at_once(podtasks: PodTasks, index: int) -> None:
    obj = _here(provider.build(_all(index)), f"all-{index}")
    status, reply = podtasks.create(obj)
    assert status == 201, reply
    assert reply["spec"] == judge.with_defaults(obj)["spec"], "the server changed or dropped a part"
    assert reply["metadata"]["annotations"] == obj["metadata"]["annotations"]
    assert reply["metadata"]["labels"] == obj["metadata"]["labels"]


def test_each_argument_alone(podtasks: PodTasks) -> None:
    for name, values in provider.SAMPLES.items():
        for index, value in enumerate(values):
            obj = _here(provider.build(provider.completed({name: value})), f"{name.replace('_', '-')}-{index}")
            status, reply = podtasks.create(obj)
            assert status == 201, (name, reply)
            assert reply["spec"] == judge.with_defaults(obj)["spec"]
