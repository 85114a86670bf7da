"""Whatever a DAG author passes becomes plain data; what Airflow has yet to resolve stays as it is."""

import datetime as dt
import enum
from typing import Any

import pytest
from kubernetes.client import models as k8s
from podtask_airflow.utils import converters


class Unresolved:
    """As an XComArg: nothing is known of it before the task runs."""


class Colour(str, enum.Enum):  # noqa: UP042 - StrEnum is of Python 3.11
    RED = "red"


class _OldPort:
    """As airflow.kubernetes.pod.Port of Airflow 1.10."""

    def to_k8s_client_obj(self) -> k8s.V1ContainerPort:
        return k8s.V1ContainerPort(container_port=80, name="http")


UNRESOLVED = Unresolved()

CASES: dict[str, tuple[Any, Any]] = {
    "text": ("a", "a"),
    "zero": (0, 0),
    "false": (False, False),
    "nothing": (None, None),
    "an enum is its value": (Colour.RED, "red"),
    "None is dropped from a dict": ({"a": None, "b": {"c": None}}, {"b": {}}),
    "None is dropped from a list": ([1, None], [1]),
    "empty things stay": (
        {"a": [], "b": {}, "c": "", "d": 0, "e": False},
        {"a": [], "b": {}, "c": "", "d": 0, "e": False},
    ),
    "a tuple": (("a", "b"), ["a", "b"]),
    "a range": (range(3), [0, 1, 2]),
    "a frozenset": (frozenset({7}), [7]),
    "a time": (dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc), "2026-01-02T00:00:00+00:00"),  # noqa: UP017
    "a model, by the API's names": (
        k8s.V1EnvVar(name="A", value_from=k8s.V1EnvVarSource(field_ref=k8s.V1ObjectFieldSelector(field_path="x.y"))),
        {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x.y"}}},
    ),
    "a name that is a word of Python's": (
        k8s.V1NetworkPolicyIngressRule(_from=[k8s.V1NetworkPolicyPeer()]),
        {"from": [{}]},
    ),
    "false and zero in a model": (
        k8s.V1SecurityContext(run_as_user=0, privileged=False),
        {"runAsUser": 0, "privileged": False},
    ),
    "models in a dict in a list": (
        [{"x": k8s.V1LocalObjectReference(name="a")}],
        [{"x": {"name": "a"}}],
    ),
    "Airflow 1.10's own classes": ([_OldPort()], [{"containerPort": 80, "name": "http"}]),
    "what is not known yet": ({"a": [UNRESOLVED]}, {"a": [UNRESOLVED]}),
}


@pytest.mark.parametrize("case", CASES)
def test_plain(case: str) -> None:
    value, want = CASES[case]
    got = converters.to_dict(value)
    assert got == want
    assert converters.to_dict(got) == want, "twice is once"


def test_nulls_are_kept_where_they_say_something() -> None:
    assert converters.to_dict({"a": None, "b": [None]}, nulls=True) == {"a": None, "b": [None]}


def test_a_result_shares_nothing_with_what_was_given() -> None:
    given = {"a": [{"b": 1}]}
    converters.to_dict(given)["a"][0]["b"] = 2
    assert given == {"a": [{"b": 1}]}


@pytest.mark.parametrize(
    "value",
    ["{{ ds }}", "a{% if x %}", "{# note #}", ["{{ ds }}"], {"a": {"b": "{{ x }}"}}, {"{{ k }}": 1}, UNRESOLVED],
)
def test_not_concrete(value: Any) -> None:
    assert not converters.is_concrete(value)


@pytest.mark.parametrize("value", ["", "${A}", "{not: jinja}", 0, None, [1, "a"], {"a": {"b": True}}, dt.timedelta(1)])
def test_concrete(value: Any) -> None:
    assert converters.is_concrete(value)


def test_yaml_says_where_it_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"not valid YAML.*line 2"):
        converters.parse_text("a: 1\nb: [")


def test_the_kubernetes_client_and_yaml_are_not_imported_for_nothing() -> None:
    """The DAG processor imports the operator's arguments for every file."""
    import subprocess
    import sys

    code = (
        "import sys; from podtask_airflow.utils import arguments, manifest;"
        "arguments.prepare({'image': 'a', 'cmds': ['b'], 'env_vars': {'A': 'b'}, 'arguments': ['{{ x }}']});"
        "print(sorted({'kubernetes', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
