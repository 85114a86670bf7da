"""pydantic and the CRD accept the same values; but pydantic alone takes an explicit null for an absent field."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.crd import examples, judge, models, values

SCHEMA = examples.object_schema()
HEAD = {"apiVersion": "podtask.dev/v1alpha1", "kind": "PodTask", "metadata": {"name": "any"}}
LEAVES = {
    ".".join(map(str, path)): (path, node)
    for part in ("spec", "status")
    for path, node in values.leaves(SCHEMA["properties"][part], (part,))
}
TASKS = st.fixed_dictionaries(
    {"spec": values.valid(SCHEMA["properties"]["spec"])},
    optional={"status": values.valid(SCHEMA["properties"]["status"])},
).map(lambda parts: HEAD | parts)


def _compare(obj: values.Json) -> None:
    ours, theirs = models.problems(obj), judge.schema_problems(obj)
    assert bool(ours) == bool(theirs), f"ours: {ours}\ntheirs: {theirs}\n{obj}"


@pytest.mark.parametrize("name", LEAVES)
def test_each_field_takes_the_same_values_here_and_there(name: str) -> None:
    """Exhaustive over fields: each value of a list of odd ones, at each place of the schema."""
    path, node = LEAVES[name]
    repeated = [[values.smallest(node["items"])] * 2] if "items" in node else []
    for value in (*values.SPOILS, *repeated):
        obj = HEAD | values.around(SCHEMA, path, value)
        _compare(obj)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(task=TASKS)
def test_generated_values(task: values.Json) -> None:
    assert judge.schema_problems(task) == []
    _compare(task)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(task=values.spoilt(TASKS))
def test_spoilt_values(task: values.Json) -> None:
    if isinstance(task.get("metadata"), dict) and {k: task[k] for k in HEAD} == HEAD:
        _compare(task)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(task=TASKS)
def test_what_is_parsed_is_written_as_it_was(task: values.Json) -> None:
    """Nothing is lost, added or renamed between reading and writing, but for a time's zone."""
    written = models.dump(models.parse(task))
    assert models.parse(written) == models.parse(task)
    assert judge.schema_problems(written) == []
    for part in ("spec", "status"):
        assert _without_times(written.get(part)) == _without_times(task.get(part))


def _without_times(value: values.Json) -> values.Json:
    if isinstance(value, dict):
        return {key: _without_times(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_times(entry) for entry in value]
    return "a time" if isinstance(value, str) and value.startswith("2026-") else value
