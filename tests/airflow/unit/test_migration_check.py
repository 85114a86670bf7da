"""What the check finds in sources, which are not executed."""

import subprocess
import sys
from pathlib import Path

import pytest
from podtask_airflow import __main__ as command
from podtask_airflow.utils import migration_check


def _check(folder: Path, text: str) -> list[migration_check.Operator]:
    (folder / "dag.py").write_text(text)
    found = list(migration_check.check(folder))
    assert all(isinstance(one, migration_check.Operator) for one in found)
    return [one for one in found if isinstance(one, migration_check.Operator)]


CALL = "KubernetesPodOperator()"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            f"from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator\n{CALL}",
            "",
        ),
        (
            f"from airflow.contrib.operators.kubernetes_pod_operator import KubernetesPodOperator\n{CALL}",
            "",
        ),
        ("from x import KubernetesPodOperator as KPO\nKPO(image='a')", ""),
        ("import x.y\nx.y.KubernetesPodOperator()", ""),
        ("import z\nKPO = z.KubernetesPodOperator\nKPO()", ""),
        ("\nKubernetesPodOperator.partial(image='a')", ".partial"),
    ],
)
def test_finds_operators(tmp_path: Path, text: str, what: str) -> None:
    (found,) = _check(tmp_path, text)
    assert found.what == f"KubernetesPodOperator{what}"
    assert found.line == text.count("\n") + 1
    assert not found.is_unsupported


def test_finds_decorators(tmp_path: Path) -> None:
    text = "@task.kubernetes(image='a', trigger_kwargs={'a': 1})\ndef f(): ...\n@task.branch()\ndef g(): ..."
    (found,) = _check(tmp_path, text)
    assert (found.what, found.line, found.is_unsupported) == ("@task.kubernetes", 1, True)


def test_expanded_arguments_are_seen(tmp_path: Path) -> None:
    found = _check(tmp_path, "KubernetesPodOperator.partial(image='a').expand(trigger_kwargs=[{}], cmds=x)")
    assert sorted(one.what for one in found) == ["KubernetesPodOperator.expand", "KubernetesPodOperator.partial"]


def test_each_expanded_value_is_judged_for_itself(tmp_path: Path) -> None:
    (expanded, _) = _check(
        tmp_path, "KubernetesPodOperator.partial(image='a').expand(name=['a', 'b'], cmds=[['x'], ['y']])"
    )
    assert (expanded.what, expanded.is_unsupported) == ("KubernetesPodOperator.expand", False)
    (expanded, _) = _check(tmp_path, "KubernetesPodOperator.partial(image='a').expand(name=['a', 'b c'])")
    assert expanded.is_unsupported


def test_says_what_becomes_of_each(tmp_path: Path) -> None:
    (found,) = _check(
        tmp_path,
        "KubernetesPodOperator(task_id='t', image=IMAGE, cmds=['a'], poll_interval=9, get_logs=True,"
        " resources={'limit_gpu': 1}, **more)",
    )
    said = {finding.text.split(" ")[0]: (finding.kind, finding.text) for finding in found.findings}
    assert said["image"][0] == "mapped"
    assert said["image"][1].startswith("image -> spec.image")
    assert said["cmds"][1].startswith("cmds -> spec.command")
    assert said["poll_interval"][0] == "no effect"
    assert said["get_logs"][0] == "supported"
    assert said["resources"][1].startswith("resources -> spec.resources")
    assert said["**more"][0] == "unclear"
    assert "task_id" not in said


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("KubernetesPodOperator(trigger_kwargs={'a': 1})", "trigger_kwargs is not supported"),
        ("KubernetesPodOperator(trigger_kwargs=computed())", "trigger_kwargs: the trigger's event only says"),
        ("KubernetesPodOperator(skip_on_exit_code=0)", "skip_on_exit_code contains 0"),
        ("KubernetesPodOperator(resources={'limit_tpu': 1})", "container_resources has the key 'limit_tpu'"),
        ("KubernetesPodOperator(pod_template_file='a', pod_template_dict={})", "exclude each other"),
        ("KubernetesPodOperator(is_delete_operator_pod=True, on_finish_action='keep_pod')", "contradict each other"),
        ("KubernetesPodOperator(image='x', cmds=[], name='a b')", "name may hold"),
    ],
)
def test_refused(tmp_path: Path, call: str, sentence: str) -> None:
    (found,) = _check(tmp_path, call)
    unsupported = [finding.text for finding in found.findings if finding.kind == "unsupported"]
    assert len(unsupported) == 1
    assert sentence in unsupported[0]


def test_an_empty_trigger_kwargs_is_none(tmp_path: Path) -> None:
    (found,) = _check(tmp_path, "KubernetesPodOperator(trigger_kwargs=None)")
    assert not found.is_unsupported


def test_subclasses_are_named(tmp_path: Path) -> None:
    found = _check(tmp_path, "class Mine(KubernetesPodOperator):\n    pass\n\nGKEStartPodOperator(image='a')")
    assert [(one.what, one.line) for one in found] == [("class Mine", 1), ("GKEStartPodOperator", 4)]
    assert all(any(finding.kind == "unclear" for finding in one.findings) for one in found)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "good.py").write_text("KubernetesPodOperator(image='a')")
    assert command.main(["check", str(tmp_path)]) == 0
    assert "good.py:1: KubernetesPodOperator: supported" in capsys.readouterr().out
    (tmp_path / "bad.py").write_text("KubernetesPodOperator(trigger_kwargs={'a': 1})")
    (tmp_path / "broken.py").write_text("def (")
    assert command.main(["check", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "bad.py:1: KubernetesPodOperator: unsupported\n    unsupported" in out
    assert "broken.py:1: not read" in out
    assert out.endswith("2 operators found, 2 to be changed first\n")


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["check", str(tmp_path / "none")])
    assert caught.value.code == 2
    assert "does not exist" in capsys.readouterr().err


def test_as_a_module(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("KubernetesPodOperator(trigger_kwargs={'a': 1})")
    module = [sys.executable, "-m", "podtask_airflow"]
    done = subprocess.run([*module, "check", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    done = subprocess.run([*module, "arguments"], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == len(command.ARGUMENTS)
