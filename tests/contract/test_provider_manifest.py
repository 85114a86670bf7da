"""What the Airflow operator builds passes the CRD: its schema, strictly, and its rules; and a Pod can be made of it."""

from typing import Any

import kubernetes_validate
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podtask.api import names
from podtask.core import merge, podspec
from podtask.core.settings import Settings
from tests.builders import make_task
from tests.crd import examples, judge, models, provider

USED = [(name, index) for name, values in provider.SAMPLES.items() for index in range(len(values))]


def _unknown(schema: examples.Json, value: examples.Json, path: str) -> list[str]:
    """Fields that a server under strict validation would refuse."""
    if isinstance(value, list):
        return [found for entry in value for found in _unknown(schema.get("items", {}), entry, f"{path}[]")]
    if not isinstance(value, dict) or schema.get("x-kubernetes-preserve-unknown-fields"):
        known = schema.get("properties", {}) if isinstance(value, dict) else {}
        return [found for key in known if key in value for found in _unknown(known[key], value[key], f"{path}.{key}")]
    if "additionalProperties" in schema:
        return []
    known = schema.get("properties", {})
    found = [f"{path}.{key}" for key in value if key not in known]
    return found + [more for key in known if key in value for more in _unknown(known[key], value[key], f"{path}.{key}")]


SPEC = examples.object_schema()["properties"]["spec"]


def _problems(obj: examples.Json) -> list[str]:
    spec = _unknown(SPEC, obj["spec"], "spec")
    return [*judge.schema_problems(obj), *models.problems(obj), *map(str, judge.violations(obj)), *spec]


def _pod(obj: examples.Json) -> examples.Json:
    return podspec.build(make_task(**obj["spec"]).build(), 1, "load-1", Settings())


def _validate_pod(obj: examples.Json) -> None:
    pod = _pod(obj)
    kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)


def _assert_sound(arguments: dict[str, Any], *, with_identity: bool = True) -> None:
    obj = provider.build(arguments, with_identity=with_identity)
    assert _problems(obj) == []
    _validate_pod(obj)


def test_each_argument_has_samples() -> None:
    every = {argument.name for argument in provider.arguments.ARGUMENTS}
    assert provider.SAMPLES.keys() == every | {"task_id", "retries", "execution_timeout"}


@pytest.mark.parametrize(("name", "index"), USED, ids=str)
def test_each_argument_alone(name: str, index: int) -> None:
    value = provider.SAMPLES[name][index]
    _assert_sound(provider.completed({name: value}))
    _assert_sound(provider.completed({name: value, "do_xcom_push": True}), with_identity=False)


@given(st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in provider.SAMPLES.items()}))
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_arguments_together(arguments: dict[str, Any]) -> None:
    _assert_sound(provider.completed(arguments))


def _assert_shown_truly(obj: examples.Json) -> None:
    """What hooks see is what the controller makes; only what every task gets comes on top."""
    shown = provider.pod_mutation.pod_of(obj)["spec"]
    made = _pod(obj)["spec"]
    for container in shown["containers"]:
        if container["name"] == obj["spec"].get("containerName", names.DEFAULT_CONTAINER):
            container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    if shown.get("terminationGracePeriodSeconds") == 0:
        shown["terminationGracePeriodSeconds"] = 1  # the API would drop the Pod while its containers still run
    assert {name: made.get(name) for name in shown} == shown
    assert made.keys() - shown.keys() <= {"restartPolicy", "enableServiceLinks"}


@given(st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in provider.SAMPLES.items()}))
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_hooks_see_the_pod_that_will_be(arguments: dict[str, Any]) -> None:
    obj = provider.build(provider.completed(arguments | {"image": "a"}))
    obj["spec"].pop("xcom", None)  # its sidecar is the controller's
    _assert_shown_truly(obj)


names_of_variables = st.sampled_from("ABC")
variables = st.lists(st.tuples(names_of_variables, st.lists(names_of_variables, max_size=2)), max_size=5).map(
    lambda drawn: [{"name": name, "value": "".join(f"$({other})" for other in others)} for name, others in drawn]
)


@given(variables, variables)
@settings(deadline=None, max_examples=200)
def test_variables_are_merged_as_the_controller_does(below: Any, over: Any) -> None:
    assert provider.pod_mutation.merge_variables(below, over) == merge.env(below, over)


SHARED = ("GROUP", "VERSION", "API_VERSION", "KIND", "PLURAL", "ANNOTATION_ACKNOWLEDGED", "DEFAULT_CONTAINER")


@pytest.mark.parametrize("name", SHARED)
def test_names_are_the_controllers(name: str) -> None:
    assert getattr(provider.constants, name) == getattr(names, name)


def test_the_ids_that_kubectl_shows_are_those_that_the_operator_writes() -> None:
    columns = examples.definition()["spec"]["versions"][0]["additionalPrinterColumns"]
    shown = {column["jsonPath"].replace("\\", "") for column in columns if "annotations" in column["jsonPath"]}
    assert shown == {
        f".metadata.annotations.{key}"
        for key in (provider.constants.ANNOTATION_DAG, provider.constants.ANNOTATION_TASK)
    }


def test_the_judge_sees_a_wrong_manifest() -> None:
    """A broken one of each kind is rejected: by the schema, by a rule, by strictness, and as a Pod."""
    good = provider.build({"image": "a"})
    assert _problems(good | {"spec": {**good["spec"], "image": 5}})
    assert _problems(good | {"spec": {"disruptionLimit": 0}})
    assert _problems(good | {"spec": {**good["spec"], "imagee": "a"}}) == ["spec.imagee"]
    with pytest.raises(kubernetes_validate.ValidationError):
        _validate_pod(good | {"spec": {**good["spec"], "tolerations": [{"keyy": "a"}]}})
