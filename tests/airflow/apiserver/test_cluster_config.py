"""Credentials of every kind against a real API server: none, without rights, from a plugin, expired."""

import asyncio
import time
from pathlib import Path

import pytest
import wire
from podtask_airflow.hooks import api_errors, cluster_config
from podtask_airflow.hooks.podtask import BUDGET_SECONDS
from podtask_airflow.utils import informer

PLUGIN = """#!/bin/sh
echo run >> {runs}
echo '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
echo '"status":{{"token":"'$(cat {token})'"}}}}'
"""
VERBS = ["create", "get", "list", "watch", "patch"]


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
    admin.account(place, "no-rights", [])
    user = {"token": admin.token(place, "no-rights", "token")}
    one = wire.client_of(admin.kubeconfig(tmp_path / "k", user))
    with pytest.raises(api_errors.Forbidden) as caught:
        one.create(place, wire.task("a"))
    sentence = str(caught.value)
    assert f"may not create a PodTask in namespace {place}: bind PodTask's role for Airflow" in sentence
    assert f'User "system:serviceaccount:{place}:no-rights" cannot create' in sentence
    with pytest.raises(api_errors.Forbidden, match=rf"may not read the log \(pods/log\) of Pod {place}/p"):
        one.pod_log(place, "p", "base")


def test_with_no_and_with_wrong_credentials(admin: wire.Admin, place: str, tmp_path: Path) -> None:
    for user in ({}, {"token": "wrong"}):
        with pytest.raises(api_errors.Unauthorized, match="renew the token, or repair the credential plugin"):
            wire.client_of(admin.kubeconfig(tmp_path / "k", user)).get(place, "a")


def test_a_wrong_certificate_authority(admin: wire.Admin, place: str, tmp_path: Path) -> None:
    path = wire.kubeconfig_of(admin.server, tmp_path / "k", {"token": "x"})
    began = time.monotonic()
    with pytest.raises(api_errors.Untrusted, match="correct the address or the certificate authority"):
        wire.client_of(path).get(place, "a")
    assert time.monotonic() - began < BUDGET_SECONDS / 2, "waiting does not help"


def test_a_plugins_token_expires_in_a_worker(admin: wire.Admin, place: str, plugin: Plugin, tmp_path: Path) -> None:
    one = wire.client_of(admin.kubeconfig(tmp_path / "k", plugin.user))
    one.create(place, wire.task("a"))
    assert plugin.count == 1
    plugin.token.write_text(admin.token(place, "airflow", "second"))
    admin("DELETE", f"/api/v1/namespaces/{place}/secrets/first")
    # The API server believes a token for some seconds after its end.
    wire.until_true(lambda: one.get(place, "a") and plugin.count == 2)
    one.get(place, "a")
    assert plugin.count == 2


async def test_a_plugins_token_expires_in_a_triggerer(
    admin: wire.Admin, place: str, plugin: Plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informer, "LINGER_SECONDS", 0.1)
    with wire.Wire(admin.kubeconfig(tmp_path / "k", plugin.user)) as line:
        resolve = wire.resolving(line.write(tmp_path / "k2"))
        made = admin("POST", wire.tasks_path(place), wire.task("a", metadata={"labels": {"k": "v"}}))
        uid = made["metadata"]["uid"]
        subscriber = asyncio.ensure_future(
            informer.wait(cluster_config.ClusterRef(), place, "k=v", "a", uid, resolve=resolve)
        )
        await wire.until(lambda: admin.watches() and line.connections)
        plugin.token.write_text(admin.token(place, "airflow", "second"))
        admin("DELETE", f"/api/v1/namespaces/{place}/secrets/first")

        cut_at = 0.0

        def asks_again() -> bool:
            """The API server believes a token for some seconds after its end: each new watch asks anew.

            Time to hear something is left in between: after watches without a word the informer's pauses grow.
            """
            nonlocal cut_at
            if time.monotonic() > cut_at + 2.5:
                cut_at = time.monotonic()
                line.cut()
            return plugin.count == 2

        await wire.until(asks_again)
        admin.finish(place, "a")
        assert (await asyncio.wait_for(subscriber, wire.HANG_SECONDS)).phase == "Succeeded"


def test_a_plugin_that_begins_to_fail(admin: wire.Admin, place: str, plugin: Plugin, tmp_path: Path) -> None:
    one = wire.client_of(admin.kubeconfig(tmp_path / "k", plugin.user))
    plugin.token.write_text("not a token")
    plugin.script.write_text("#!/bin/sh\necho 'the SSO session has expired' >&2; exit 255\n")
    with pytest.raises(
        api_errors.ClusterConfigError, match=r"credential plugin '.*plugin' failed .*SSO session has expired"
    ):
        one.get(place, "a")
