"""Invalid templates. test_podspec has a fuzz test of them."""

import pytest

from podtask.core import template
from tests.builders import make_task


def test_read_gives_fresh_maps() -> None:
    task = make_task(template={"spec": {"containers": [{"name": "base", "tty": None}]}}).build()
    first = template.read(task)
    first["template"]["spec"]["containers"].clear()
    assert template.read(task)["template"]["spec"]["containers"] == [{"name": "base", "tty": None}]


def test_the_message_names_the_place() -> None:
    task = make_task(init_containers=[{"name": "a"}, {"name": "b", "env": [{}]}]).build()
    with pytest.raises(template.TemplateError, match=r"spec.initContainers\[1\].env\[0\].name must be a string"):
        template.read(task)
