"""The command line: what of it is kubectl's."""

import subprocess
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from cluster import cli


@dataclass
class Run:
    """What was run, on which cluster."""

    cluster: str = ""
    words: tuple[str, ...] = ()


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Note the command instead of running it."""
    run = Run()

    def get(name: str, **_: object) -> object:
        run.cluster = name
        return SimpleNamespace(record=SimpleNamespace(binaries={"kubectl": "kubectl"}), kubeconfig="k")

    def note(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        run.words = tuple(words)
        return subprocess.CompletedProcess(words, 7)

    monkeypatch.setattr(cli.clusters, "get", get)
    monkeypatch.setattr(cli.subprocess, "run", note)
    return run


@pytest.mark.parametrize(
    ("words", "cluster", "handed_on"),
    [
        ("--name x -n team get pods", "x", "-n team get pods"),
        ("--name=x -n team get pods --name y", "x", "-n team get pods --name y"),
        ("-n team get pods", "podtask", "-n team get pods"),
        ("--name x exec pod -- sh -c true", "x", "exec pod -- sh -c true"),
        ("get pods -h", "podtask", "get pods -h"),
        ("--name x", "x", ""),
        ("", "podtask", ""),
    ],
)
def test_everything_after_the_name_is_kubectls(ran: Run, words: str, cluster: str, handed_on: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["kubectl", *words.split()])
    assert ended.value.code == 7
    assert (ran.cluster, ran.words) == (cluster, ("kubectl", "--kubeconfig=k", *handed_on.split()))


@pytest.mark.parametrize("words", [["kubectl", "--help"], ["--help"]])
def test_help_is_ours(ran: Run, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert (ended.value.code, ran.words) == (0, ())
    assert "python -m cluster" in capsys.readouterr().out


def test_a_name_without_a_value_is_an_error(ran: Run) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["kubectl", "--name"])
    assert (ended.value.code, ran.words) == (2, ())
