"""`python -m podtask.crdgen`: writes what is stale, or names it."""

from pathlib import Path

import pytest

from podtask.crdgen import files
from podtask.crdgen.__main__ import ROOT, main


def test_the_root_is_the_repository() -> None:
    assert (ROOT / "pyproject.toml").exists()


def test_writes_then_agrees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", "--root", str(tmp_path)]) == 1
    want = [files.METRICS_PAGE, files.CRD, files.CHART_CRD, files.API_PAGE, files.REASONS_PAGE]
    assert capsys.readouterr().err.splitlines() == [f"stale: {path}" for path in want]
    assert not list(tmp_path.iterdir()), "a check writes nothing"

    assert main(["--root", str(tmp_path)]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == want
    assert main(["--check", "--root", str(tmp_path)]) == 0


def test_names_only_what_is_stale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--root", str(tmp_path)])
    capsys.readouterr()
    path = tmp_path / files.CRD
    path.write_text(path.read_text().replace("maxItems: 1024", "maxItems: 1025", 1))
    assert main(["--check", "--root", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"stale: {files.CRD}\n"


def test_generated_files_say_so() -> None:
    assert all("enerated by python -m podtask.crdgen" in text[:80] for text in files.generated().values())


def test_braces_do_not_reach_helm(monkeypatch: pytest.MonkeyPatch) -> None:
    crd = {"metadata": {"name": "x"}, "spec": {"description": "write {{ this }}"}}
    monkeypatch.setattr(files, "definition", lambda: crd)
    text = files._templated(crd)
    assert 'write {{ "{{" }} this {{ "}}" }}' in text


def test_a_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="annotation"):
        files._templated({"metadata": {"name": "x"}, "spec": {"a": {"name": "y"}, "name": 1}, "b": {"name": "x"}})
