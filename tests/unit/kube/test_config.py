"""Identity and its renewal."""

import json
import os
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from podtask.kube import config, errors
from podtask.kube.config import ClusterConfig, Plugin, Token, in_cluster, ssl_context
from tests.unit.kube.doubles import JumpingClock


def certificate() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    cert = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=36500))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    raw_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return cert.public_bytes(serialization.Encoding.PEM), raw_key


def rewrite(path: Path, text: str, mtime: float) -> None:
    path.write_text(text)
    os.utime(path, (mtime, mtime))


def test_the_token_file_is_looked_at_every_few_seconds(tmp_path: Path) -> None:
    file, clock = tmp_path / "token", JumpingClock()
    rewrite(file, "one\n", 1)
    token = Token(ClusterConfig("https://x", token_file=str(file)), time_source=clock)
    assert token.current() == "one"
    rewrite(file, "two", 2)
    clock.now += 4.9
    assert token.current() == "one"
    clock.now += 0.2
    assert token.current() == "two"


class Printed:
    """A plugin that prints what the test puts into a file, and counts how often it was asked."""

    def __init__(self, directory: Path) -> None:
        self._answer, self._calls = directory / "answer", directory / "calls"
        script = 'echo x >> "$0"; cat "$1"'
        self.plugin = Plugin(("/bin/sh", "-c", script, str(self._calls), str(self._answer)))

    def says(self, token: str, lives_seconds: float | None = None) -> None:
        status: dict[str, str] = {"token": token}
        if lives_seconds is not None:
            status["expirationTimestamp"] = (datetime.now(UTC) + timedelta(seconds=lives_seconds)).isoformat()
        self._answer.write_text(json.dumps({"kind": "ExecCredential", "status": status}))

    @property
    def calls(self) -> int:
        return self._calls.read_text().count("x")


def test_a_plugin_is_asked_again_a_minute_before_its_token_expires(tmp_path: Path) -> None:
    printed, clock = Printed(tmp_path), JumpingClock()
    token = Token(ClusterConfig("https://x", plugin=printed.plugin), time_source=clock)
    printed.says("one", lives_seconds=600)
    assert token.current() == "one"
    printed.says("two", lives_seconds=10)
    clock.now += 530
    assert token.current() == "one"
    clock.now += 11
    assert token.current() == "two"
    assert token.current() == "two"
    assert printed.calls == 2, "one that expires at once is not asked for with each request"


def test_a_plugin_is_asked_again_when_its_token_is_refused(tmp_path: Path) -> None:
    printed, clock = Printed(tmp_path), JumpingClock()
    token = Token(ClusterConfig("https://x", plugin=printed.plugin), time_source=clock)
    printed.says("one")
    assert token.current() == "one"
    clock.now += 1e6
    assert token.current() == "one", "it has no end"
    printed.says("two")
    assert token.refused("one")
    assert token.current() == "two"
    assert token.refused("one"), "another request has asked already"
    assert printed.calls == 2


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo no session >&2; exit 3", "sh ended with 3: no session"),
        ("echo SECRET", "gave no token: DecodeError"),
        ('echo \'{"status":{"clientCertificateData":"SECRET"}}\'', "client certificates of plugins"),
    ],
)
def test_a_plugin_that_gives_no_token_is_named(script: str, words: str) -> None:
    token = Token(ClusterConfig("https://x", plugin=Plugin(("/bin/sh", "-c", script))))
    with pytest.raises(errors.TransportError) as failed:
        token.current()
    assert words in str(failed.value)
    assert "SECRET" not in str(failed.value)


def test_a_plugin_that_is_gone_or_hangs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "_PLUGIN_SECONDS", 0.1)
    for command, words in ((("/no/such/plugin",), "FileNotFoundError"), (("/bin/sleep", "60"), "TimeoutExpired")):
        with pytest.raises(errors.TransportError, match=words):
            Token(ClusterConfig("https://x", plugin=Plugin(command))).current()


def test_a_plugin_is_not_asked_where_a_token_is_given(tmp_path: Path) -> None:
    printed = Printed(tmp_path)
    assert Token(ClusterConfig("https://x", token="given", plugin=printed.plugin)).current() == "given"


def test_a_refused_token_is_read_again_at_once(tmp_path: Path) -> None:
    file, clock = tmp_path / "token", JumpingClock()
    rewrite(file, "one", 1)
    token = Token(ClusterConfig("https://x", token_file=str(file)), time_source=clock)
    assert token.current() == "one"
    assert not token.refused("one")
    rewrite(file, "two", 1)  # even within one tick of the file system's clock
    assert token.refused("one")
    assert token.current() == "two"
    assert token.refused("one"), "another request has read it already"


def test_a_missing_file_keeps_the_token(tmp_path: Path) -> None:
    file, clock = tmp_path / "token", JumpingClock()
    rewrite(file, "one", 1)
    token = Token(ClusterConfig("https://x", token_file=str(file)), time_source=clock)
    assert token.current() == "one"
    file.unlink()
    clock.now += 10
    assert token.current() == "one"
    rewrite(file, "\N{SNOWMAN}", 5)
    clock.now += 10
    assert token.current() == "one"


def test_a_fixed_token_has_no_successor() -> None:
    token = Token(ClusterConfig("https://x", token="t"))
    assert token.current() == "t"
    assert not token.refused("t")


def test_secrets_are_not_shown() -> None:
    got = repr(ClusterConfig("https://x", token="hidden", client_key_data=b"hidden", client_cert_data=b"hidden"))
    assert "hidden" not in got
    assert "https://x" in got


def test_plain_http_needs_no_tls() -> None:
    assert ssl_context(ClusterConfig("http://127.0.0.1:8001")) is None


def test_certificates_from_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cert, key = certificate()
    context = ssl_context(ClusterConfig("https://x", ca_data=cert, client_cert_data=cert, client_key_data=key))
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1
    assert list(tmp_path.iterdir()) == [], "no key stays on the disk"


def test_certificates_from_files(tmp_path: Path) -> None:
    cert, key = certificate()
    (tmp_path / "c").write_bytes(cert)
    (tmp_path / "k").write_bytes(key)
    paths = ClusterConfig(
        "https://x",
        ca_path=str(tmp_path / "c"),
        client_cert_path=str(tmp_path / "c"),
        client_key_path=str(tmp_path / "k"),
    )
    assert ssl_context(paths) is not None


def test_unusable_certificates_fail_at_once() -> None:
    with pytest.raises((ssl.SSLError, OSError)):
        ssl_context(ClusterConfig("https://x", ca_path="/nowhere"))


def test_insecure_believes_anybody() -> None:
    context = ssl_context(ClusterConfig("https://x", insecure=True))
    assert context is not None
    assert context.verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize(("host", "want"), [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")])
def test_in_cluster(host: str, want: str) -> None:
    got = in_cluster({"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"}, Path("/sa"))
    assert got == ClusterConfig(want, ca_path="/sa/ca.crt", token_file="/sa/token")


def test_outside_of_a_cluster() -> None:
    with pytest.raises(KeyError):
        in_cluster({})
