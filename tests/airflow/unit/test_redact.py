"""What looks secret is not shown; everything else is, and nothing is changed."""

from typing import Any

import pytest
from kubernetes.client import models as k8s
from podtask_airflow.utils.redact import hidden, looks_secret, redact

CASES: dict[str, tuple[Any, Any]] = {
    "a variable": ([{"name": "DB_PASSWORD", "value": "x"}], [{"name": "DB_PASSWORD", "value": "***"}]),
    "a harmless variable": ([{"name": "DAY", "value": "x"}], [{"name": "DAY", "value": "x"}]),
    "a variable as a model": ([k8s.V1EnvVar(name="apiKey", value="x")], [{"name": "apiKey", "value": "***"}]),
    "a variable that is only named": (
        [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}}],
        [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}}],
    ),
    "a dict of variables": ({"AWS_SECRET_ACCESS_KEY": "x", "A": "y"}, {"AWS_SECRET_ACCESS_KEY": "***", "A": "y"}),
    "what is below a secret's name": (
        {"passwords": {"a": "x", "b": ["y"]}},
        {"passwords": {"a": "***", "b": ["***"]}},
    ),
    "a volume's source": (
        {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]},
        {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]},
    ),
    "references by name": (
        {
            "imagePullSecrets": [{"name": "r"}],
            "automountServiceAccountToken": False,
            "envFrom": [{"secretRef": {"name": "s"}}],
        },
        {
            "imagePullSecrets": [{"name": "r"}],
            "automountServiceAccountToken": False,
            "envFrom": [{"secretRef": {"name": "s"}}],
        },
    ),
    "a password in a URL": (
        ["--db=postgres://user:pa-ss@host/db", "https://host/a:b@c"],
        ["--db=postgres://user:***@host/db", "https://host/a:b@c"],
    ),
    "an option": (
        ["--password=x", "--user=y", 'TOKEN=x API_KEY="a b" run --day=1'],
        ["--password=***", "--user=y", "TOKEN=*** API_KEY=*** run --day=1"],
    ),
    "an option and its value": (["--api-key", "x", "--day", "x"], ["--api-key", "***", "--day", "x"]),
    "an option that only names a variable": (
        ["--password=$PASSWORD", "--password", "$PASSWORD", "--token", "--quiet"],
        ["--password=$PASSWORD", "--password", "$PASSWORD", "--token", "--quiet"],
    ),
    "deep inside": (
        {"spec": {"template": {"spec": {"containers": [{"env": [{"name": "X_TOKEN", "value": "x"}]}]}}}},
        {"spec": {"template": {"spec": {"containers": [{"env": [{"name": "X_TOKEN", "value": "***"}]}]}}}},
    ),
    "nothing to hide": ({"password": ""}, {"password": ""}),
}


@pytest.mark.parametrize("case", CASES)
def test_redact(case: str) -> None:
    value, want = CASES[case]
    assert redact(value) == want


@pytest.mark.parametrize(
    "name",
    [
        *("password", "dbPassword", "DB-PASSWORD", "my.api.key", "githubToken", "PRIVATE_KEY", "PGPASSWORD"),
        *("SECRET_KEY", "AWS_SECRET_ACCESS_KEY", "token2", "API_TOKENS", "db_passwords"),
    ],
)
def test_spellings(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize("name", ["secretName", "secretKeyRef", "serviceAccountToken", "key", "name", "tolerations"])
def test_words_of_the_pod_api(name: str) -> None:
    assert not looks_secret(name)


HARMLESS = {
    "SECRETS_BACKEND": "vault",
    "MAX_TOKENS": "100000",
    "TOKENIZER": "bert-base-uncased",
    "GOOGLE_APPLICATION_CREDENTIALS": "/var/secrets/key.json",
    "SERVICE_ACCOUNT": "runner",
    "HTTP_PROXY": "http://proxy.example:3128",
}


@pytest.mark.parametrize(("name", "value"), HARMLESS.items())
def test_words_of_a_log_are_no_secrets_because_a_variable_is_called_so(name: str, value: str) -> None:
    env = [{"name": name, "value": value}]
    assert redact({"env": env, "args": [f"{name}={value}"]}) == {"env": env, "args": [f"{name}={value}"]}
    assert hidden({"env": env, "args": [f"{name}={value}"]}) == []


def test_the_password_in_a_proxys_address() -> None:
    env = [{"name": "HTTP_PROXY", "value": "http://me:hunter22@proxy.example"}]
    assert redact(env) == [{"name": "HTTP_PROXY", "value": "http://me:***@proxy.example"}]
    assert hidden(env) == ["hunter22"]


def test_names_of_ones_own() -> None:
    assert redact({"Customer-Number": "x", "b": "y"}, ["customerNumber", " "]) == {"Customer-Number": "***", "b": "y"}


def test_what_is_given_stays_as_it_is() -> None:
    given = {"env": [{"name": "PASSWORD", "value": "x"}]}
    redact(given)
    assert given == {"env": [{"name": "PASSWORD", "value": "x"}]}


def test_what_a_masker_has_to_know() -> None:
    assert hidden({"env": [{"name": "TOKEN", "value": "abcdef"}], "args": ["--password=hunter2", "--day=1"]}) == [
        "abcdef",
        "hunter2",
    ]
    assert hidden(["--password=x"]) == ["--password=x"], "x is part of many words"
    assert hidden(["postgres://user:pa-ss@host"]) == ["pa-ss"]
    assert hidden(["A_TOKEN=abcde B_TOKEN=fghij"]) == ["abcde", "fghij"]
    assert hidden(["--token", "abcdef", "TOKEN=***** x=***"]) == ["abcdef", "*****"]
