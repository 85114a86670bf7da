"""Certificates: what is in them, when they are made again, and that a crash leaves nothing that is taken for whole."""

import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from cluster import kubeconfig, pki
from cluster.pki import Subject

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SERVER = Subject("apiserver", "kube-apiserver", names=("localhost", "127.0.0.1"))
ADMIN = Subject("admin", "admin", "system:masters")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pki.issue_all(tmp_path, [SERVER, ADMIN], NOW)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_second_call_changes_nothing(folder) -> None:
    before = contents(folder)
    pki.issue_all(folder, [SERVER, ADMIN], NOW + dt.timedelta(days=30))
    assert contents(folder) == before


def test_user_and_group_are_where_kubernetes_reads_them(folder) -> None:
    subject = x509.load_pem_x509_certificate((folder / "admin.crt").read_bytes()).subject
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "admin"
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:masters"


def test_other_names_make_that_certificate_again_and_no_other(folder) -> None:
    before = contents(folder)
    moved = Subject("apiserver", "kube-apiserver", names=("localhost", "10.77.2.2"))
    pki.issue_all(folder, [moved, ADMIN], NOW)
    changed = {name for name, content in contents(folder).items() if content != before[name]}
    assert changed == {"apiserver.crt", "apiserver.key"}


def test_what_is_about_to_expire_is_made_again(folder) -> None:
    before = contents(folder)
    pki.issue_all(folder, [SERVER, ADMIN], NOW + dt.timedelta(days=360))
    assert all(contents(folder)[name] != before[name] for name in ("ca.crt", "admin.crt", "apiserver.crt"))
    assert contents(folder)["sa.key"] == before["sa.key"]  # tokens stay valid


@pytest.mark.parametrize("lost", ["admin.crt", "admin.key"])
def test_half_a_pair_is_made_whole(folder, lost) -> None:
    (folder / lost).unlink()
    pki.issue_all(folder, [SERVER, ADMIN], NOW)
    ssl.create_default_context().load_cert_chain(folder / "admin.crt", folder / "admin.key")


def test_private_keys_are_readable_by_their_owner_only(folder) -> None:
    assert {file.stat().st_mode & 0o777 for file in folder.glob("*.key")} == {0o600}


def test_a_kubeconfig_carries_its_certificates_in_it(folder, tmp_path) -> None:
    target = tmp_path / "kubeconfig"
    kubeconfig.write(target, "one", "https://127.0.0.1:1", "admin", folder)
    text = target.read_text()
    assert str(folder) not in text
    assert '"server": "https://127.0.0.1:1"' in text
    assert target.stat().st_mode & 0o777 == 0o600
