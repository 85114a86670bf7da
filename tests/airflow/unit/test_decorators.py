"""@task.podtask and @task.podtask_cmd: what is shipped into the Pod, run here by the interpreter of the tests."""

import base64
import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeCluster, context, dag_of, ends
from podtask_airflow import exceptions, version_compat
from podtask_airflow.decorators import podtask as decorators
from podtask_airflow.utils import python_payload
from podtask_airflow.utils.arguments import ArgumentError


def operator_of(called: Any) -> Any:
    """The operator behind what a decorated function gave when it was called in a DAG."""
    return called.operator


def run(body: dict[str, Any], tmp_path: Path) -> tuple[Any, subprocess.CompletedProcess[str]]:
    """Do what the kubelet does: lay the annotations down as files, and start the command."""
    files = next(volume for volume in body["spec"]["volumes"] if volume["name"] == python_payload.VOLUME)
    annotations = body["spec"]["template"]["metadata"]["annotations"]
    for item in files["downwardAPI"]["items"]:
        key = item["fieldRef"]["fieldPath"].removeprefix("metadata.annotations['").removesuffix("']")
        (tmp_path / item["path"]).write_text(annotations[key])
    result = tmp_path / "out/result.json"
    python, flag, runner, _, parts, path = body["spec"]["command"]
    assert (python, flag) == ("python3", "-c")
    arguments = [sys.executable, "-I", "-c", runner, str(tmp_path), parts, str(result) if path else ""]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    return (json.loads(result.read_text()) if result.exists() else None), done


def built(task: Any, **more: Any) -> dict[str, Any]:
    task.render_template_fields({**more})
    return task.build_podtask({}, task.read_arguments(), None)


def test_the_function_runs_with_its_arguments(tmp_path: Path) -> None:
    @decorators.podtask_task(image="python", multiple_outputs=False)
    def add(a: int, *, b: str) -> dict[str, Any]:
        import sys

        print("from inside", file=sys.stderr)
        return {"sum": a + len(b), "b": b}

    with dag_of():
        task = operator_of(add(3, b="{{ word }}"))
    value, done = run(built(task, word="four"), tmp_path)
    assert value == {"sum": 7, "b": "four"}
    assert "from inside" in done.stderr
    assert task.do_xcom_push is True


def test_what_json_would_change_is_pickled(tmp_path: Path) -> None:
    @decorators.podtask_task(image="python")
    def kinds(pair, day):
        return [type(pair).__name__, day.isoformat()]

    with dag_of():
        task = operator_of(kinds((1, 2), dt.date(2026, 1, 2)))
    assert run(built(task), tmp_path)[0] == ["tuple", "2026-01-02"]


def test_large_arguments_travel_in_parts(tmp_path: Path) -> None:
    import random

    noise = base64.b64encode(random.Random(1).randbytes(100_000)).decode()

    @decorators.podtask_task(image="python")
    def size(text):
        return len(text)

    with dag_of():
        task = operator_of(size(noise))
    body = built(task)
    annotations = body["spec"]["template"]["metadata"]["annotations"]
    assert len(annotations) > 1
    assert all(len(part) <= 65_536 for part in annotations.values())
    assert run(body, tmp_path)[0] == len(noise)


def test_too_much_is_refused() -> None:
    import random

    noise = base64.b64encode(random.Random(1).randbytes(200_000)).decode()
    with pytest.raises(exceptions.PodTaskConfigurationError, match="reference"):
        python_payload.pack("def f(x): pass", "f", [noise], {})


def test_a_traceback_shows_the_function_s_lines(tmp_path: Path) -> None:
    @decorators.podtask_task(image="python")
    def fails():
        raise RuntimeError("boom")

    with dag_of():
        task = operator_of(fails())
    value, done = run(built(task), tmp_path)
    assert value is None
    assert done.returncode == 1
    assert 'raise RuntimeError("boom")' in done.stderr


def test_a_result_that_is_not_json_is_told(tmp_path: Path) -> None:
    @decorators.podtask_task(image="python")
    def gives():
        return {1, 2}

    with dag_of():
        task = operator_of(gives())
    assert "result is not JSON" in run(built(task), tmp_path)[1].stderr


def test_without_push_nothing_is_written(tmp_path: Path) -> None:
    @decorators.podtask_task(image="python", do_xcom_push=False)
    def gives():
        return 1

    with dag_of():
        task = operator_of(gives())
    body = built(task)
    assert "xcom" not in body["spec"]
    assert run(body, tmp_path)[0] is None


def test_the_user_s_annotations_and_volumes_stay() -> None:
    @decorators.podtask_task(image="python", annotations={"a": "b"}, volumes=[{"name": "v", "emptyDir": {}}])
    def gives():
        return 1

    with dag_of():
        task = operator_of(gives())
    spec = built(task)["spec"]
    assert spec["template"]["metadata"]["annotations"]["a"] == "b"
    assert [volume["name"] for volume in spec["volumes"]] == ["v", python_payload.VOLUME]


@pytest.mark.parametrize("decorator", [decorators.podtask_task, decorators.podtask_cmd_task])
def test_a_command_beside_the_function_is_refused(decorator: Any) -> None:
    @decorator(image="python", cmds=["sh"])
    def gives():
        return ["x"]

    with dag_of(), pytest.raises(ArgumentError, match="cmds"):
        gives()


@pytest.mark.parametrize(("args_only", "field"), [(False, "command"), (True, "args")])
def test_the_command_that_a_function_makes(monkeypatch: pytest.MonkeyPatch, args_only: bool, field: str) -> None:
    monkeypatch.setattr(version_compat, "is_dag_test", lambda _: False)

    @decorators.podtask_cmd_task(image="busybox", args_only=args_only, get_logs=False)
    def command(word, ds=None, **more):
        return ["echo", word, ds, "{{ ds }}", more["dag_run"].__class__.__name__]

    with dag_of():
        task = operator_of(command("hi"))
    cluster = FakeCluster(ends())
    task.make_client = lambda _: cluster
    task.execute({**context(), "ds": "2026-01-02"})
    spec = cluster.only["spec"]
    assert spec[field] == ["echo", "hi", "2026-01-02", "2026-01-02", "SimpleNamespace"]
    assert ("args" if field == "command" else "command") not in spec


@pytest.mark.parametrize("made", [[], "echo", [1], None])
def test_a_command_that_is_none(made: Any) -> None:
    with pytest.raises(TypeError, match="list of strings"):
        decorators._command(lambda: made, [], {}, {})
