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
    "auth_header",
    "authorization",
    "bearer",
    "connection_string",
    "dsn",
    "keyfile_dict",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "secret",
    "service_key",
    "token",
    "webhook_url",
)
"""What Airflow's masker takes for a secret's name, without what in a Pod names none: proxies and service accounts."""
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
    return _Redaction(sensitive).of(plain.plain(value))


def hidden(value: Any, sensitive: Iterable[str] = ()) -> list[str]:
    """Give the texts that `redact` does not show: what a masker of logs has to know."""
    redaction = _Redaction(sensitive)
    redaction.of(plain.plain(value))
    return redaction.texts


def looks_secret(name: str, sensitive: Iterable[str] = _SENSITIVE, value: Any = "") -> bool:
    """Say whether a variable or key of this name probably holds a secret.

    The part has to end a word: SECRETS_BACKEND and TOKENIZER hold none. Several of them at the name's end do, unless
    the value is a number of them, as in MAX_TOKENS=1000.
    """
    words = _words(name)
    if words in _NAMES_ONLY:
        return False
    is_number = str(value).isdigit()
    return any(
        re.search(rf"{re.escape(part)}(?![a-z])", words) or (words.endswith(f"{part}s") and not is_number)
        for part in sensitive
    )


def _words(name: str) -> str:
    """Write dbPassword, DB-PASSWORD and db.password alike."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip()).lower())


class _Redaction:
    """One value's. `texts` are those that were hidden."""

    def __init__(self, sensitive: Iterable[str]) -> None:
        self._sensitive = (*_SENSITIVE, *(_words(part) for part in sensitive if part.strip()))
        self.texts: list[str] = []

    def of(self, value: Any) -> Any:
        """Return a copy for showing."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            return [self._word(value, place) for place in range(len(value))]
        if isinstance(value, dict):
            return {key: self._entry(key, entry, value) for key, entry in value.items()}
        return value

    def _text(self, value: str) -> str:
        parts: list[str] = []

        def option(found: re.Match[str]) -> str:
            """Hide the value of --password=x, and of PASSWORD=x in front of a command."""
            if not looks_secret(found[1].strip("-="), self._sensitive, found[2]):
                return found[0]
            parts.append(found[2])
            return found[1] + HIDDEN

        def password(found: re.Match[str]) -> str:
            parts.append(found[2])
            return f"{found[1]}:{HIDDEN}@"

        shown = _IN_URL.sub(password, _OPTION.sub(option, value))
        # A short word may stand anywhere: then only the whole text is a secret.
        self.texts += parts if all(len(part) >= _SHORTEST for part in parts) else [value]
        return shown

    def _word(self, value: list[Any], place: int) -> Any:
        """Hide what comes after an option --password that stands by itself."""
        entry, before = value[place], value[place - 1] if place else None
        is_value = isinstance(entry, str) and not entry.startswith(("-", "$"))
        option = before.strip("-") if isinstance(before, str) and _ALONE.fullmatch(before) else ""
        return self._hide(entry) if is_value and looks_secret(option, self._sensitive, entry) else self.of(entry)

    def _entry(self, key: Any, entry: Any, around: dict[Any, Any]) -> Any:
        is_variable = key == "value" and isinstance(around.get("name"), str)
        name = around["name"] if is_variable else str(key)
        if entry is None or entry == "" or isinstance(entry, bool) or not looks_secret(name, self._sensitive, entry):
            return self.of(entry)
        return self._hide(entry)

    def _hide(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._hide(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [self._hide(entry) for entry in value]
        if isinstance(value, str):
            self.texts.append(value)
        return HIDDEN
