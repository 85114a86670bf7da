"""Credentials of every kind against a real API server: none, without rights, from a plugin, expired."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import wire
from podtask_airflow import access, errors, hub

PLUGIN = """#!/bin/sh
echo run >> {runs}
echo '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
echo '"status":{{"token":"'$(cat {token})'"}}}}'
"""
VERBS = ["create", "get", "list", "watch", "patch"]


@pytest.fixture(scope="module")
def admin(kubeconfig: Path) -> wire.Admin:
    return wire.Admin(kubeconfig)


@pytest.fixture
def place(admin: wire.Admin) -> Iterator[str]:
    name = admin.namespace()
    yield name
    admin.drop(name)


class Plugin:
    """A credential plugin as EKS's is: a program that prints a token."""

    def __init__(self, tmp_path: Path) -> None:
        self.token, self.runs, self.script = tmp_path / "token", tmp_path / "runs", tmp_path / "plugin"
        self.script.write_text(PLUGIN.format(runs=self.runs, token=self.token))
        self.script.chmod(0o755)

    @property
    def user(self) -> dict[str, object]:
        return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(self.script)}}

    @property
    def count(self) -> int:
        return len(self.runs.read_text().split())


@pytest.fixture
def plugin(admin: wire.Admin, place: str, tmp_path: Path) -> Plugin:
    made = Plugin(tmp_path)
    admin.account(place, "airflow", VERBS)
    made.token.write_text(admin.token(place, "airflow", "first"))
    return made


def test_without_rights(admin: wire.Admin, place: str, tmp_path: Path) -> None:
    admin.account(place, "nobody", [])
    user = {"token": admin.token(place, "nobody", "token")}
    one = wire.client_of(admin.kubeconfig(tmp_path / "k", user))
    with pytest.raises(errors.Forbidden) as caught:
        one.create(place, wire.task("a"))
    sentence = str(caught.value)
    assert f"may not create a PodTask in namespace {place}: give it PodTask's role for Airflow" in sentence
    assert f'User "system:serviceaccount:{place}:nobody" cannot create' in sentence
    with pytest.raises(errors.Forbidden, match=r"may not read the log \(pods/log\) of pod p"):
        one.pod_log(place, "p", "base")


def test_with_no_and_with_wrong_credentials(admin: wire.Admin, place: str, tmp_path: Path) -> None:
    for user in ({}, {"token": "wrong"}):
        with pytest.raises(errors.Unauthorized, match="renew the token or repair the credential plugin"):
            wire.client_of(admin.kubeconfig(tmp_path / "k", user)).get(place, "a")


def test_a_wrong_certificate_authority(admin: wire.Admin, place: str, tmp_path: Path) -> None:
    path = wire.kubeconfig_of(admin.server, tmp_path / "k", {"token": "x"})
    began = time.monotonic()
    with pytest.raises(errors.Untrusted, match="correct the address or the certificate authority"):
        wire.client_of(path).get(place, "a")
    assert time.monotonic() - began < 10, "waiting does not help"


def test_a_plugins_token_expires_in_a_worker(admin: wire.Admin, place: str, plugin: Plugin, tmp_path: Path) -> None:
    one = wire.client_of(admin.kubeconfig(tmp_path / "k", plugin.user))
    one.create(place, wire.task("a"))
    assert plugin.count == 1
    plugin.token.write_text(admin.token(place, "airflow", "second"))
    admin("DELETE", f"/api/v1/namespaces/{place}/secrets/first")
    # The API server believes a token for some seconds after its end.
    end = time.monotonic() + 60
    while plugin.count == 1 and time.monotonic() < end:
        one.get(place, "a")
        time.sleep(0.2)
    assert plugin.count == 2
    one.get(place, "a")
    assert plugin.count == 2


async def test_a_plugins_token_expires_in_a_triggerer(
    admin: wire.Admin, place: str, plugin: Plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "LINGER_SECONDS", 0.1)
    with wire.Wire(admin.kubeconfig(tmp_path / "k", plugin.user)) as line:
        path = line.write(tmp_path / "k2")

        async def resolve(of: access.Access) -> access.Resolved:
            return access.resolve(access.Access(conn_id=None, config_file=str(path)), wire.no_connection)

        made = admin("POST", wire.tasks_path(place), wire.task("a", metadata={"labels": {"k": "v"}}))
        uid = made["metadata"]["uid"]
        waiter = asyncio.ensure_future(hub.wait(access.Access(), place, "k=v", "a", uid, resolve=resolve))
        while admin.watches() == 0 or line.connections == 0:  # noqa: ASYNC110 (no event tells)
            await asyncio.sleep(0.1)
        plugin.token.write_text(admin.token(place, "airflow", "second"))
        admin("DELETE", f"/api/v1/namespaces/{place}/secrets/first")
        end = time.monotonic() + 60
        while plugin.count == 1 and time.monotonic() < end:
            line.cut()
            await asyncio.sleep(2.5)
        assert plugin.count == 2
        admin.finish(place, "a")
        assert (await asyncio.wait_for(waiter, 20)).phase == "Succeeded"


def test_a_plugin_that_begins_to_fail(admin: wire.Admin, place: str, plugin: Plugin, tmp_path: Path) -> None:
    one = wire.client_of(admin.kubeconfig(tmp_path / "k", plugin.user))
    plugin.token.write_text("not a token")
    plugin.script.write_text("#!/bin/sh\necho 'the SSO session has expired' >&2; exit 255\n")
    with pytest.raises(errors.AccessError, match=r"credential plugin '.*plugin' failed .*SSO session has expired"):
        one.get(place, "a")
