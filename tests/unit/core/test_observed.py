"""The views on the wire."""

import msgspec

from podtask.core.observed import TaskStatus, spec_as_dict
from tests.builders import make_task


def test_the_phase_is_always_written() -> None:
    """A default would be left out, and a merge patch back to Pending would then remove the phase."""
    read = msgspec.json.decode(b'{"phase":"Pending"}', type=TaskStatus)
    assert msgspec.to_builtins(read) == {"phase": "Pending"}
    assert msgspec.to_builtins(TaskStatus()) == {"phase": "Pending"}


def test_the_exact_name_of_a_pod() -> None:
    assert make_task().build().exact_pod_name is None
    assert make_task(template={"spec": {}}).build().exact_pod_name is None
    assert make_task(template={"metadata": {"name": "fixed"}}).build().exact_pod_name == "fixed"


def test_a_finished_tasks_spec_is_empty() -> None:
    assert spec_as_dict(msgspec.structs.replace(make_task().build(), raw_spec=b"")) == {}
