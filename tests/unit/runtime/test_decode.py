"""From the wire inward, where the wire brings what no Pod has."""

import pytest

from podtask.runtime import decode

HEAD = (
    b'{"metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"1","generation":1,'
    b'"creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{"image":"i","template":{"spec":{"x":'
)


def task(levels: int) -> bytes:
    return HEAD + b'{"a":' * levels + b"1" + b"}" * levels + b"}}}}"


@pytest.mark.parametrize("levels", [98, 200, 900, 1_000, 9_990])
def test_a_spec_that_is_nested_too_deep_is_a_problem_and_no_error(levels: int) -> None:
    found = decode.decode_task(task(levels))
    assert found.metadata.uid == "u"
    assert found.problem == "spec is nested deeper than 100 levels"
    assert found.raw_spec == b""


def test_a_spec_as_deep_as_allowed_is_whole() -> None:
    found = decode.decode_task(task(decode.MOST_LEVELS - 3))
    assert found.problem == ""
    assert found.raw_spec


def test_a_deep_task_of_another_controller_is_still_its() -> None:
    raw = task(3_000).replace(b'"image":"i"', b'"managedBy":"kueue.x-k8s.io/multikueue"')
    assert decode.decode_task(raw).spec.managed_by == "kueue.x-k8s.io/multikueue"
