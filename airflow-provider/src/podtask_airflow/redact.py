"""Hide what looks secret in what Airflow shows: rendered fields, dry runs, logs.

By name only, since a value does not tell; and only for showing: what goes to the API server is never changed. Airflow's
own masker knows the values of connections and variables; this is for what a DAG author wrote down himself.
"""

import re
from collections.abc import Iterable
from typing import Any

from . import plain

HIDDEN = "***"

_SENSITIVE = (
    "access_key",
    "api_key",
    "apikey",
    "authorization",
    "connection_string",
    "credential",
    "keyfile",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "secret",
    "sql_alchemy_conn",
    "token",
)
_NAMES_ONLY = (
    "automount_service_account_token",
    "image_pull_secrets",
    "secret",
    "secret_key_ref",
    "secret_name",
    "secret_ref",
    "secrets",
    "service_account_token",
)
"""Words of the Pod API that hold a reference to a secret and never the secret itself."""
_IN_URL = re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)@")


def redact(value: Any, sensitive: Iterable[str] = ()) -> Any:
    """Return a copy for showing: variables and keys whose names look secret have `***` for a value.

    `sensitive` adds parts of names, as `[podtask] sensitive_keys` does. Passwords in URLs go, wherever they stand.
    """
    return _redact(plain.plain(value), (*_SENSITIVE, *(_words(part) for part in sensitive if part.strip())))


def looks_secret(name: str, sensitive: Iterable[str] = _SENSITIVE) -> bool:
    """Say whether a variable or key of this name probably holds a secret."""
    words = _words(name)
    return words not in _NAMES_ONLY and any(part in words for part in sensitive)


def _words(name: str) -> str:
    """Write dbPassword, DB-PASSWORD and db.password alike."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip()).lower())


def _redact(value: Any, sensitive: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return _IN_URL.sub(rf"\1:{HIDDEN}@", value)
    if isinstance(value, list):
        return [_redact(entry, sensitive) for entry in value]
    if isinstance(value, dict):
        return {key: _entry(key, entry, value, sensitive) for key, entry in value.items()}
    return value


def _entry(key: Any, entry: Any, around: dict[Any, Any], sensitive: tuple[str, ...]) -> Any:
    is_variable = key == "value" and isinstance(around.get("name"), str)
    name = around["name"] if is_variable else str(key)
    if entry is not None and looks_secret(name, sensitive) and not (isinstance(entry, bool) or entry == ""):
        return HIDDEN if is_variable or not isinstance(entry, (dict, list)) else _all_hidden(entry)
    return _redact(entry, sensitive)


def _all_hidden(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _all_hidden(entry) for key, entry in value.items()}
    return [_all_hidden(entry) for entry in value] if isinstance(value, list) else HIDDEN
