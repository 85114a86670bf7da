"""Hide values with secret-looking names where Airflow shows them: rendered fields, dry runs, logs.

What is sent to the API server is not changed. Airflow's masker knows the values of connections and variables; this
module finds those that a DAG author has written into arguments.
"""

import re
from collections.abc import Iterable
from typing import Any

from . import converters

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
"""Names that Airflow's masker hides, without those that in a Pod are no secrets: proxies and service accounts."""
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
"""Fields of the Pod API that hold a reference to a secret and never its value."""
_OPTION = re.compile(r"(?<!\S)(-{0,2}[A-Za-z][\w.-]*=)(?![\s$])(\"[^\"]*\"|'[^']*'|\S+)")
"""An option or variable with its value in a command line. A reference ($VARIABLE) is not a secret."""
_ALONE = re.compile(r"--[\w.-]+")
_SHORTEST = 5
_IN_URL = re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)@")


def redact(value: Any, sensitive: Iterable[str] = ()) -> Any:
    """Return a copy with `***` for the values of variables and keys with secret-looking names, and for URL passwords.

    `sensitive` adds parts of names, as `[podtask] sensitive_keys` does.
    """
    return _Redaction(sensitive).of(converters.to_dict(value))


def hidden(value: Any, sensitive: Iterable[str] = ()) -> list[str]:
    """Return the texts that `redact` hides, for Airflow's masker."""
    redaction = _Redaction(sensitive)
    redaction.of(converters.to_dict(value))
    return redaction.texts


def looks_secret(name: str, sensitive: Iterable[str] = _SENSITIVE, value: Any = "") -> bool:
    """Return whether a variable or key of this name probably holds a secret.

    The sensitive part has to end a word, so SECRETS_BACKEND and TOKENIZER do not. Its plural at the end of the name
    does, unless the value is a number, as in MAX_TOKENS=1000.
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
    """Convert dbPassword, DB-PASSWORD and db.password to db_password."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip()).lower())


class _Redaction:
    """The redaction of one value. `texts` are those that were hidden."""

    def __init__(self, sensitive: Iterable[str]) -> None:
        self._sensitive = (*_SENSITIVE, *(_words(part) for part in sensitive if part.strip()))
        self.texts: list[str] = []

    def of(self, value: Any) -> Any:
        """Return a redacted copy."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            return [self._word(value, index) for index in range(len(value))]
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
        # A short word may occur anywhere in a log, so the whole text is registered instead.
        self.texts += parts if all(len(part) >= _SHORTEST for part in parts) else [value]
        return shown

    def _word(self, value: list[Any], index: int) -> Any:
        """Hide the entry after an option like --password."""
        entry, before = value[index], value[index - 1] if index else None
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
