"""The structs and the API server's JSON."""

from datetime import datetime

import msgspec
import pytest

from podtask.api import names
from podtask.core.snapshot import TaskStatus, spec_as_dict
from tests.builders import at, make_pod, make_task


def test_the_phase_is_always_written() -> None:
    """A default is omitted, and the merge patch for a return to Pending would remove the phase."""
    read = msgspec.json.decode(b'{"phase":"Pending"}', type=TaskStatus)
    assert msgspec.to_builtins(read) == {"phase": "Pending"}
    assert msgspec.to_builtins(TaskStatus()) == {"phase": "Pending"}


def test_the_exact_name_of_a_pod() -> None:
    assert make_task().build().exact_pod_name is None
    assert make_task(template={"spec": {}}).build().exact_pod_name is None
    assert make_task(template={"metadata": {"name": "fixed"}}).build().exact_pod_name == "fixed"


def test_a_finished_tasks_spec_is_empty() -> None:
    assert spec_as_dict(msgspec.structs.replace(make_task().build(), raw_spec=b"")) == {}


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("2026-01-01T00:00:09Z", at(9)),
        ("2026-01-01T02:00:09+02:00", at(9)),
        ("2026-01-01T00:00:09", None),
        ("soon", None),
        ("", None),
    ],
)
def test_when_a_pod_was_asked_to_stop(text: str, want: datetime | None) -> None:
    """Any editor of the Pod can write the annotation. An invalid time counts as none."""
    made = make_pod().stopped("Cancelled", None)
    assert made.build().stop_time is None
    annotations = {**made.build().metadata.annotations, names.ANNOTATION_STOP_TIME: text}
    assert made.metadata(annotations=annotations).build().stop_time == want
