"""What the controller's image is made of: bare bases, wheels, the key of each layer, the bill of materials."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from cluster import paths
from cluster.errors import ClusterError
from cluster.images import bill, build, keys, rootfs, table, wheels
from cluster.images.table import Image


def archive(path: Path, *layers: dict[str, str], links: dict[str, str] | None = None) -> Path:
    """Write an image archive with these files, and the links in its last layer."""
    with tarfile.open(path, "w") as image:
        _add(image, "manifest.json", b"[]")
        for number, files in enumerate(layers):
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as layer:
                for name, text in files.items():
                    _add(layer, name, text.encode())
                for name, target in (links or {}).items():
                    link = tarfile.TarInfo(name)
                    link.type, link.linkname = tarfile.SYMTYPE, target
                    layer.addfile(link)
            _add(image, f"{number}.tar", inner.getvalue())
    return path


def _add(target: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    target.addfile(member, io.BytesIO(content))


def test_an_images_key_looks_at_its_files_only(tmp_path) -> None:
    for name in ("Dockerfile", "lock", "code/a.py", "code/deep/b.py", "other.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    image = Image("one", tmp_path, files=("Dockerfile", "code"))
    assert [str(file.relative_to(tmp_path)) for file in keys.context_files(image)] == [
        "Dockerfile",
        "code/a.py",
        "code/deep/b.py",
    ]
    first = keys.key(image)
    (tmp_path / "other.py").write_text("changed")
    (tmp_path / "lock").write_text("changed")
    assert keys.key(image) == first
    (tmp_path / "code/deep/b.py").write_text("changed")
    assert keys.key(image) != first


def test_a_change_of_the_sources_leaves_the_packages_alone() -> None:
    packages, controller = (set(keys.context_files(table.IMAGES[n])) for n in ("controller-packages", "controller"))
    assert paths.REPOSITORY / "requirements.lock" in packages - controller
    assert paths.REPOSITORY / "controller/podtask/__main__.py" in controller - packages
    assert not table.IMAGES["controller-packages"].is_loaded
    arguments = build._bud(table.IMAGES["controller-packages"], Path("context"))
    assert "--target=packages" in arguments
    assert "--build-arg=PIP_NO_INDEX=1" in arguments


def test_the_stage_and_bareness_are_part_of_the_key(tmp_path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    variants = [Image("one", tmp_path), Image("one", tmp_path, stage="a"), Image("one", tmp_path, is_bare=True)]
    assert len({keys.key(image) for image in variants}) == 3


def test_a_source_that_changes_during_the_build_makes_another_build(tmp_path, monkeypatch) -> None:
    """Else an empty archive, or one with the newer content, would stand under the older key."""
    monkeypatch.setenv("PODTASK_CACHE", str(tmp_path))
    context = tmp_path / "context"
    context.mkdir()
    source = context / "Dockerfile"
    source.write_text("FROM scratch\n")
    image = Image("one", context)
    monkeypatch.setattr(build.packages, "ensure", lambda *_: None)
    builds = []

    def buildah(work: Path, *arguments: str) -> str:
        if arguments[0] == "push":
            (work / "image.tar").touch()
            builds.append(source.read_text())
            if len(builds) == 1:
                source.write_text("FROM scratch\nENV A=b\n")
        return ""

    monkeypatch.setattr(build, "_buildah", buildah)
    found = build.ensure([image], lambda _: None)
    assert builds == ["FROM scratch\n", "FROM scratch\nENV A=b\n"]
    assert found == {"one": build.archive_path(image)}
    assert [file.name for file in (tmp_path / "images").glob("*.tar")] == [found["one"].name]


def test_sources_that_never_rest_are_an_error(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PODTASK_CACHE", str(tmp_path))
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("0")
    monkeypatch.setattr(build.packages, "ensure", lambda *_: None)

    def buildah(work: Path, *arguments: str) -> str:
        (work / "image.tar").touch()
        (context / "Dockerfile").write_text((context / "Dockerfile").read_text() + "1")
        return ""

    monkeypatch.setattr(build, "_buildah", buildah)
    with pytest.raises(ClusterError, match="changed during each"):
        build.ensure([Image("one", context)], lambda _: None)


def test_a_bare_root_has_neither_shell_nor_package_tools() -> None:
    got = rootfs.bare_command(["python3"], Path("out.tar"), "bookworm", [Path("a.sources")])
    assert "--variant=extract" in got
    assert got[-3:] == ["bookworm", "out.tar", "a.sources"]
    assert not any("customize-hook" in word for word in got), "mmdebstrap does not run them for this variant"
    (deleting,) = [word for word in got if word.startswith("--extract-hook=rm -rf")]
    assert '"$1"/usr/bin/dpkg*' in deleting


def test_the_python_of_a_base_is_where_its_link_leads(tmp_path) -> None:
    made = archive(tmp_path / "a.tar", {"./etc/x": ""}, links={"./usr/bin/python3": "python3.11"})
    assert wheels.python_version(made) == "3.11"
    with pytest.raises(ClusterError, match="has no usr/bin/python3"):
        wheels.python_version(archive(tmp_path / "b.tar", {"x": ""}))


def test_wheels_are_asked_for_with_hashes_and_for_the_images_python(monkeypatch) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(wheels.commands, "run", lambda argv, **_: ran.append([str(word) for word in argv]))
    wheels.download(Path("requirements.lock"), Path("wheels"), "3.13")
    assert {"--require-hashes", "--only-binary=:all:", "--python-version=3.13", "--no-deps"} <= set(ran[0])


def test_the_bill_lists_what_is_in_the_image(tmp_path) -> None:
    control = "Package: libc6\nVersion: 1:2.36+x\nArchitecture: amd64\nDescription: a\n b\n"
    status = f"{control}\n{control.replace('libc6', 'zlib1g')}"
    new = "Metadata-Version: 2.4\nName: Py_Thing\nVersion: 1.2\nLicense-Expression: MIT\n\nlong text"
    old = "Metadata-Version: 2.1\nName: old\nVersion: 3\nLicense: BSD\n\n"
    made = archive(
        tmp_path / "controller-0123.tar",
        {"./var/lib/dpkg/status.d/libc6": control},
        {"opt/x/py_thing-1.2.dist-info/METADATA": new, "opt/x/old.dist-info/METADATA": old, "opt/METADATA": "no"},
        {"var/lib/dpkg/status": status},
    )
    got = bill.bill(made)
    assert (got["bomFormat"], got["specVersion"]) == ("CycloneDX", "1.6")
    assert got["metadata"]["component"]["name"] == "controller"
    assert [one["purl"] for one in got["components"]] == [
        "pkg:deb/debian/libc6@1%3A2.36+x?arch=amd64",
        "pkg:deb/debian/zlib1g@1%3A2.36+x?arch=amd64",
        "pkg:pypi/old@3",
        "pkg:pypi/py-thing@1.2",
    ]
    assert got["components"][3]["licenses"] == [{"license": {"name": "MIT"}}]
    json.dumps(got)
