"""Cache keys and build commands, of binaries and of images."""

import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cluster import binaries, build, packages, paths
from cluster.errors import ClusterError
from cluster.images import keys, rootfs, table
from cluster.images.table import Image
from tests.harness import HANG_SECONDS


def test_every_binary_has_a_pinned_module_that_names_its_package() -> None:
    for binary in binaries.BINARIES.values():
        module = (paths.TOOLS / binary.module / "go.mod").read_text()
        assert binary.package in module, binary.name
        assert (paths.TOOLS / binary.module / "go.sum").exists()


def test_every_form_builds_only_binaries_that_exist() -> None:
    for form in (binaries.LIGHT, binaries.NODE, binaries.SIMULATED):
        assert set(form) <= set(binaries.BINARIES)


def test_kubernetes_is_told_its_version_by_the_linker() -> None:
    flags = binaries.BINARIES["kubelet"].ldflags
    version = binaries.kubernetes_version()
    assert version.startswith("v1.")
    assert f"gitVersion={version}" in flags
    assert binaries.BINARIES["etcd"].ldflags == "-s -w"


def test_a_binarys_key_changes_with_compiler_flags_and_module_and_with_nothing_else(monkeypatch, tmp_path) -> None:
    etcd, kubelet = binaries.BINARIES["etcd"], binaries.BINARIES["kubelet"]
    first = build.cache_key(etcd, "go1")
    assert build.cache_key(etcd, "go1") == first
    assert build.cache_key(etcd, "go2") != first
    assert build.cache_key(kubelet, "go1") != first
    monkeypatch.setattr(build.paths, "TOOLS", tmp_path)
    (tmp_path / "etcd").mkdir()
    (tmp_path / "etcd" / "go.mod").write_text("module x\n")
    (tmp_path / "etcd" / "go.sum").write_text("")
    other = build.cache_key(etcd, "go1")
    (tmp_path / "etcd" / "go.sum").write_text("changed")
    assert len({first, other, build.cache_key(etcd, "go1")}) == 3


def test_a_failed_build_leaves_no_binary_and_says_why(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PODTASK_CACHE", str(tmp_path))
    tools = tmp_path / "tools" / "etcd"
    tools.mkdir(parents=True)
    (tools / "go.mod").write_text("module podtask.dev/none\n\ngo 1.21\n")
    (tools / "go.sum").write_text("")
    monkeypatch.setattr(build.paths, "TOOLS", tmp_path / "tools")
    said: list[str] = []
    with pytest.raises(ClusterError, match=r"building etcd failed(?s:.*)no required module"):
        build.ensure(["etcd"], said.append)
    assert said == ["building etcd (1 of 1) …"]
    assert [file.name for file in (tmp_path / "bin").rglob("*") if file.is_file()] == [".lock"]


def test_what_a_killed_build_left_is_removed_but_no_binary(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PODTASK_CACHE", str(tmp_path))
    folder = tmp_path / "bin" / "0123"
    folder.mkdir(parents=True)
    (folder / ".etcd.77").touch()
    (folder / "etcd").touch()
    build._remove_unfinished()
    assert [file.name for file in folder.iterdir()] == ["etcd"]


def make_image(context: Path, **fields: object) -> Image:
    return Image("one", context, **fields)  # type: ignore[arg-type]


def test_an_images_key_changes_with_its_content_and_not_with_what_never_gets_in(tmp_path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    image = make_image(tmp_path, go_binary="tool")
    first = keys.key(image, lambda: "go1")
    (tmp_path / "tool").write_text("built by hand")
    (tmp_path / "main_test.go").write_text("package main")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").touch()
    assert keys.key(image, lambda: "go1") == first
    assert keys.key(image, lambda: "go2") != first
    (tmp_path / "Dockerfile").chmod(0o755)
    second = keys.key(image, lambda: "go1")
    (tmp_path / "main.go").write_text("package main")
    assert len({first, second, keys.key(image, lambda: "go1")}) == 3


def test_an_image_changes_with_its_base(tmp_path, monkeypatch) -> None:
    for name in ("base", "top"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").write_text("FROM scratch\n")
    monkeypatch.setitem(table.IMAGES, "base", Image("base", tmp_path / "base"))
    top = Image("top", tmp_path / "top", bases={"BASE": "base"})
    first = keys.key(top)
    (tmp_path / "base" / "Dockerfile").write_text("FROM scratch\nENV A=b\n")
    assert keys.key(top) != first


def test_bases_come_before_what_is_built_on_them_and_once() -> None:
    got = [image.name for image in table.with_bases(table.named(["multiply", "python", "hello-haskell"]))]
    assert got == ["python", "multiply", "ghc", "hello-haskell"]


def test_an_unknown_image_is_refused_with_the_list_of_the_known() -> None:
    with pytest.raises(ClusterError, match=r"nonsense(?s:.*)hello-haskell"):
        table.named(["nonsense"])


def test_all_means_all_that_pods_can_run() -> None:
    assert "ghc" not in [image.name for image in table.named(["all"])]


@pytest.mark.parametrize("image", table.IMAGES.values(), ids=lambda image: image.name)
def test_every_image_has_a_dockerfile_and_every_base_a_default_for_plain_docker(image) -> None:
    text = (image.context / "Dockerfile").read_text()
    for argument in image.bases:
        assert f"ARG {argument}=" in text
        assert f"ARG {argument}=localhost" not in text


def test_the_root_file_system_comes_from_the_machines_own_sources(tmp_path) -> None:
    listed = tmp_path / "sources.list.d"
    listed.mkdir()
    (tmp_path / "sources.list").touch()  # empty, as on a new Debian
    (listed / "debian.sources").write_text("Types: deb\n")
    (listed / "other.list.disabled").write_text("deb x\n")
    assert rootfs.sources(tmp_path) == [listed / "debian.sources"]
    got = rootfs.command(["python3"], tmp_path / "out.tar", ["var/log/*"], "bookworm", rootfs.sources(tmp_path))
    assert got[0] == "mmdebstrap"
    assert got[-3:] == ["bookworm", str(tmp_path / "out.tar"), str(listed / "debian.sources")]
    assert "--include=python3" in got
    assert '--customize-hook=rm -rf "$1"/var/log/*' in got


def test_a_machine_without_package_sources_is_told_so(tmp_path) -> None:
    with pytest.raises(ClusterError, match="no package sources"):
        rootfs.sources(tmp_path)


def test_packages_that_are_there_are_not_asked_for(monkeypatch) -> None:
    monkeypatch.setattr(packages.commands, "run", lambda *_, **__: pytest.fail("nothing to install"))
    packages.ensure({"sh": "dash", "/": "base-files"}, lambda _: None)


def test_missing_packages_are_named_to_somebody_who_is_not_root(monkeypatch) -> None:
    monkeypatch.setattr(packages.os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match=r"no-such-package(?s:.*)as root: apt-get install no-such-package"):
        packages.ensure({"/no/such/file": "no-such-package"}, lambda _: None)


def as_root_with_apt(monkeypatch, tmp_path, run) -> None:
    monkeypatch.setenv("PODTASK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packages.commands, "run", run)
    monkeypatch.setattr(packages.os, "geteuid", lambda: 0)
    monkeypatch.setattr(packages.shutil, "which", lambda *_, **__: "/usr/bin/apt-get")


def test_old_package_lists_are_fetched_only_when_an_installation_fails(monkeypatch, tmp_path) -> None:
    ran: list[str] = []

    def run(argv: list[str], **_: object) -> str:
        ran.append(argv[1])
        if len(ran) == 1:
            raise ClusterError("not found")
        return ""

    answers = iter([["x"], ["x"], []])
    monkeypatch.setattr(packages, "missing", lambda _: next(answers))
    as_root_with_apt(monkeypatch, tmp_path, run)
    packages.ensure({"/x": "x"}, lambda _: None)
    assert ran == ["install", "update", "install"]


def test_two_who_want_the_same_packages_install_them_once(monkeypatch, tmp_path) -> None:
    proof, second_waits = tmp_path / "proof", threading.Event()
    ran: list[str] = []

    def run(argv: list[str], **_: object) -> str:
        ran.append(argv[1])
        assert second_waits.wait(HANG_SECONDS), "both asked apt-get at once"
        proof.touch()
        return ""

    def report(line: str) -> None:
        if line.startswith("waiting for"):
            second_waits.set()

    as_root_with_apt(monkeypatch, tmp_path, run)
    with ThreadPoolExecutor(2) as both:
        asked = [both.submit(packages.ensure, {str(proof): "x"}, report) for _ in range(2)]
    assert [one.result() for one in asked] == [None, None]
    assert ran == ["install"]


def test_the_go_modules_name_no_replacement_outside_kubernetes() -> None:
    for file in paths.TOOLS.glob("*/go.mod"):
        replaced = [line for line in file.read_text().splitlines() if "=>" in line]
        assert all("k8s.io/" in line for line in replaced), file


def test_this_projects_settings_are_readable() -> None:
    assert "hack" in tomllib.loads((paths.REPOSITORY / "pyproject.toml").read_text())["tool"]["mypy"]["mypy_path"]
