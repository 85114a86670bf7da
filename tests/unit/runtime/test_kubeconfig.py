"""Reading a kubeconfig: each kind of credentials works, or is refused by name."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from podtask import __main__ as command_line
from podtask.kube.config import Token
from podtask.runtime import handlers, kubeconfig
from podtask.runtime.kubeconfig import KubeconfigError

SERVER = "https://cluster.example.com:6443"


def config(user: dict[str, Any], **cluster: Any) -> dict[str, Any]:
    return {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": SERVER, **cluster}}],
        "users": [{"name": "u", "user": user}],
    }


def write(file: Path, document: object) -> dict[str, str]:
    file.write_text(json.dumps(document))
    return {"KUBECONFIG": str(file)}


def test_certificates_and_relative_paths(tmp_path: Path) -> None:
    def data(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    user = {"client-certificate-data": data("cert"), "client-key": "keys/key.pem"}
    found = kubeconfig.read(write(tmp_path / "k", config(user, **{"certificate-authority-data": data("ca")})))
    assert (found.server, found.ca_data, found.client_cert_data) == (SERVER, b"ca", b"cert")
    assert found.client_key_path == str(tmp_path / "keys/key.pem")
    assert (found.token, found.token_file, found.plugin, found.insecure) == ("", "", None, False)


def test_a_token_and_its_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-the-file\n")
    assert kubeconfig.read(write(tmp_path / "k", config({"token": "t"}))).token == "t"
    found = kubeconfig.read(write(tmp_path / "k", config({"tokenFile": "token", "token": "old"})))
    assert Token(found).current() == "from-the-file"


def test_several_files_are_merged_and_missing_ones_ignored(tmp_path: Path) -> None:
    one, two = config({"token": "one"}), config({"token": "two"})
    del one["current-context"]
    write(tmp_path / "one", one)
    write(tmp_path / "two", two)
    paths = os.pathsep.join(str(tmp_path / name) for name in ("missing", "one", "two"))
    assert kubeconfig.read({"KUBECONFIG": paths}).token == "one"


REFUSED = [
    ({"proxy-url": "http://proxy"}, {}, "`proxy-url` is not supported: proxies are not supported"),
    ({"tls-server-name": "name"}, {}, "`tls-server-name` is not supported: set `server`"),
    ({}, {"as": "admin"}, "`as` is not supported"),
    ({}, {"as-groups": ["admins"]}, "`as-groups` is not supported"),
    ({}, {"username": "a", "password": "b"}, "`username` is not supported"),
    ({}, {"auth-provider": {"name": "gcp"}}, "`auth-provider` is not supported: use `exec`"),
    ({}, {"exec": {"command": "no-such-plugin", "apiVersion": "client.authentication.k8s.io/v1"}}, "no-such-plugin"),
    (
        {},
        {"exec": {"command": "true", "apiVersion": "client.authentication.k8s.io/v1alpha1"}},
        "must have an apiVersion of",
    ),
    (
        {},
        {"exec": {"command": "true", "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Always"}},
        "is interactive",
    ),
    ({"certificate-authority-data": "%%"}, {}, "`certificate-authority-data` is not base64"),
    ({"server": ""}, {}, "no server"),
]


@pytest.mark.parametrize(("cluster", "user", "words"), REFUSED, ids=[words for _, _, words in REFUSED])
def test_unsupported_fields_are_refused_by_name(
    cluster: dict[str, Any], user: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(KubeconfigError) as refused:
        kubeconfig.read(write(tmp_path / "k", config(user, **cluster)))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "is not a kubeconfig"),
        ({}, "no current-context"),
        ({"current-context": "x"}, "no context named 'x'"),
        (config({}) | {"users": None}, "no user named 'u'"),
    ],
)
def test_an_incomplete_kubeconfig_is_refused(document: object, words: str, tmp_path: Path) -> None:
    environment = write(tmp_path / "k", document or [1])
    if not document and isinstance(document, dict):
        environment = write(tmp_path / "k", document)
    with pytest.raises(KubeconfigError) as refused:
        kubeconfig.read(environment)
    assert words in str(refused.value)


def test_an_invalid_or_missing_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("{ secret: [")
    with pytest.raises(KubeconfigError, match="cannot be read") as refused:
        kubeconfig.read({"KUBECONFIG": str(tmp_path / "k")})
    assert "secret" not in str(refused.value)
    with pytest.raises(KubeconfigError, match="no kubeconfig at"):
        kubeconfig.read({"KUBECONFIG": str(tmp_path / "missing")})


def test_a_plugin_is_found_next_to_the_file_and_gets_the_cluster(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text(
        '#!/bin/sh\nprintf \'{"status":{"token":"%s"}}\' "$TOKEN-$1"\nprintf %s "$KUBERNETES_EXEC_INFO" >&3\n'
    )
    plugin.write_text(plugin.read_text().replace(">&3", f"> {tmp_path}/info"))
    plugin.chmod(0o755)
    (tmp_path / "ca").write_bytes(b"ca")
    given = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "./plugin",
        "args": ["arg"],
        "env": [{"name": "TOKEN", "value": "value"}],
        "provideClusterInfo": True,
    }
    document = config({"exec": given}, **{"certificate-authority": "ca"})
    found = kubeconfig.read(write(tmp_path / "k", document))
    assert Token(found).current() == "value-arg"
    info = json.loads((tmp_path / "info").read_text())
    assert info["apiVersion"] == given["apiVersion"]
    assert info["spec"]["interactive"] is False
    assert info["spec"]["cluster"]["server"] == SERVER
    assert base64.b64decode(info["spec"]["cluster"]["certificate-authority-data"]) == b"ca"


def test_an_unchecked_certificate_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    environment = write(tmp_path / "k", config({"token": "t"}, **{"insecure-skip-tls-verify": True}))
    monkeypatch.setenv("KUBECONFIG", environment["KUBECONFIG"])
    assert handlers.cluster_config().insecure
    assert "certificate is not checked" in caplog.text


@pytest.mark.parametrize("words", [["--log-format=plain"], ["release-finalizers"]])
def test_a_refused_kubeconfig_ends_both_commands_with_one_line(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", write(tmp_path / "k", config({"as": "admin"}))["KUBECONFIG"])
    monkeypatch.setattr(command_line.sys, "argv", ["podtask", *words])
    monkeypatch.setattr("podtask.runtime.logs.configure", lambda *_: None)
    assert command_line.main() == 1
    assert "Traceback" not in capfd.readouterr().err
