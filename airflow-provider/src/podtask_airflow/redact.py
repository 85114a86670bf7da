"""Hide what looks secret in what Airflow shows: rendered fields, dry runs, logs.

By name only, since a value does not tell; and only for showing: what goes to the API server is never changed. Airflow's
own masker knows the values of connections and variables; this is for what a DAG author wrote down himself.
"""

import re
from collections.abc import Iterable, Iterator
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
_OPTION = re.compile(r"(?<!\S)(-{0,2}[A-Za-z][\w.-]*=)(?![\s$])(\"[^\"]*\"|'[^']*'|\S+)")
"""An option or variable with its value, as it stands in a command line. One that is named ($VARIABLE) is no secret."""
_ALONE = re.compile(r"--[\w.-]+")
_SHORTEST = 5
_IN_URL = re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)@")


def redact(value: Any, sensitive: Iterable[str] = ()) -> Any:
    """Return a copy for showing: variables and keys whose names look secret have `***` for a value.

    `sensitive` adds parts of names, as `[podtask] sensitive_keys` does. Passwords in URLs go, wherever they stand.
    """
    return _redact(plain.plain(value), (*_SENSITIVE, *(_words(part) for part in sensitive if part.strip())))


def hidden(value: Any, sensitive: Iterable[str] = ()) -> list[str]:
    """Give the texts that `redact` does not show: what a masker of logs has to know."""
    return list(_hidden(plain.plain(value), redact(value, sensitive)))


def looks_secret(name: str, sensitive: Iterable[str] = _SENSITIVE) -> bool:
    """Say whether a variable or key of this name probably holds a secret."""
    words = _words(name)
    return words not in _NAMES_ONLY and any(part in words for part in sensitive)


def _words(name: str) -> str:
    """Write dbPassword, DB-PASSWORD and db.password alike."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip()).lower())


def _redact(value: Any, sensitive: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return _OPTION.sub(lambda found: _option(found, sensitive), _IN_URL.sub(rf"\1:{HIDDEN}@", value))
    if isinstance(value, list):
        return [_word(value, place, sensitive) for place in range(len(value))]
    if isinstance(value, dict):
        return {key: _entry(key, entry, value, sensitive) for key, entry in value.items()}
    return value


def _option(found: re.Match[str], sensitive: tuple[str, ...]) -> str:
    """Hide the value of --password=x, and of PASSWORD=x in front of a command."""
    return found[1] + HIDDEN if looks_secret(found[1].strip("-="), sensitive) else found[0]


def _word(value: list[Any], place: int, sensitive: tuple[str, ...]) -> Any:
    """Hide what comes after an option --password that stands by itself."""
    entry, before = value[place], value[place - 1] if place else None
    is_value = isinstance(entry, str) and not entry.startswith(("-", "$"))
    is_option = isinstance(before, str) and _ALONE.fullmatch(before) and looks_secret(before.strip("-"), sensitive)
    return HIDDEN if is_value and is_option else _redact(entry, sensitive)


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


def _hidden(value: Any, shown: Any) -> Iterator[str]:
    if isinstance(value, dict) and isinstance(shown, dict):
        for key, entry in value.items():
            yield from _hidden(entry, shown.get(key))
    elif isinstance(value, list) and isinstance(shown, list):
        for entry, other in zip(value, shown, strict=False):
            yield from _hidden(entry, other)
    elif isinstance(value, str) and isinstance(shown, str) and value != shown:
        found = re.fullmatch("(.+?)".join(map(re.escape, shown.split(HIDDEN))), value, re.DOTALL)
        parts = found.groups() if found else (value,)
        # A short word may stand anywhere: then only the whole text is a secret.
        yield from parts if all(len(part) >= _SHORTEST for part in parts) else (value,)
