"""The files of the controller's image: small, without tools, with the packages of the lock file."""

import gzip
import io
import json
import re
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.images import bill, build, table
from tests.harness.controller import ROOT

TOOLS = {"sh", "bash", "dash", "busybox", "perl", "apt", "apt-get", "dpkg", "pip", "pip3", "gcc", "curl", "wget"}
LARGEST = 100_000_000


@pytest.fixture(scope="session")
def archive() -> Path:
    return build.ensure([table.IMAGES["controller"]], print)["controller"]


@pytest.fixture(scope="session")
def config(archive: Path) -> dict[str, Any]:
    with tarfile.open(archive) as image:
        (manifest,) = json.load(_member(image, "manifest.json"))
        found: dict[str, Any] = json.load(_member(image, manifest["Config"]))["config"]
    return found


def _member(image: tarfile.TarFile, name: str) -> io.BufferedIOBase:
    found = image.extractfile(name)
    assert found is not None
    return found


def files(archive: Path) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    with tarfile.open(archive) as image:
        for name in image.getnames():
            if name.endswith(".tar"):
                with tarfile.open(fileobj=_member(image, name)) as layer:
                    for member in layer:
                        yield layer, member


def test_it_runs_without_a_shell_as_a_numeric_user(config: dict[str, Any]) -> None:
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/opt/podtask/bin/python3", "-m", "podtask"]
    assert not config.get("Cmd")


def test_it_has_no_tools_and_no_setuid_files(archive: Path) -> None:
    everything = [member for _, member in files(archive)]
    programs = {Path(one.name).name for one in everything if re.search(r"(^|/)s?bin/[^/]+$", one.name)}
    assert "python3" in programs
    assert programs.isdisjoint(TOOLS)
    assert not [one.name for one in everything if one.isfile() and one.mode & (stat.S_ISUID | stat.S_ISGID)]
    assert not [one.name for one in everything if one.isfile() and one.mode & stat.S_IWOTH]
    assert not [one.name for one in everything if "/crdgen" in one.name], "a build tool"


def test_it_is_small(archive: Path) -> None:
    size = archive.stat().st_size
    compressed = len(gzip.compress(archive.read_bytes(), compresslevel=6))
    print(f"controller image: {size / 1e6:.1f} MB, compressed {compressed / 1e6:.1f} MB")
    assert size < LARGEST


def test_every_source_is_compiled_with_an_unchecked_hash(archive: Path) -> None:
    """By hash, because the image's times are all zero, and unchecked: else each start would compile again."""
    sources, compiled = set(), {}
    for layer, member in files(archive):
        path = Path(member.name)
        if not member.isfile() or not member.name.removeprefix("./").startswith(("opt/podtask", "srv/podtask")):
            continue
        if path.suffix == ".py":
            sources.add(str(path))
        elif path.suffix == ".pyc":
            content = layer.extractfile(member)
            assert content is not None
            compiled[str(path.parent.parent / (path.name.partition(".")[0] + ".py"))] = content.read(8)
    assert len(sources) > 400
    assert sources - set(compiled) == set()
    flags = {int.from_bytes(head[4:8], "little") for head in compiled.values()}
    assert flags == {1}


def test_it_contains_exactly_the_packages_of_the_lock_file(archive: Path) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    named = dict(re.findall(r"^([\w.-]+)==([^\s;]+) (?!;)", lock, re.MULTILINE))
    conditional = set(re.findall(r"^([\w.-]+)==[^\s;]+ ;", lock, re.MULTILINE))
    found = {one["purl"]: one for one in bill.bill(archive)["components"]}
    packages = dict(re.findall(r"pkg:pypi/([^@]+)@(\S+)", "\n".join(found)))
    assert {name: version for name, version in packages.items() if name not in conditional} == named
    assert any(purl.startswith("pkg:deb/debian/libssl3@") for purl in found)
