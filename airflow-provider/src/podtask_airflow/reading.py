"""Read one argument: from plain data into the shape that the PodTask wants, or say what is wrong with it.

Every reader takes a concrete value that is not None, and raises `WrongValueError` with the rest of a sentence that
begins with the argument's name. Text is accepted wherever an object is expected, because Jinja renders to text.
"""

import datetime as dt
import decimal
import json
import math
import re
from collections.abc import Callable
from typing import Any

from . import names, plain, secret

Json = Any
Object = dict[str, Any]
Reader = Callable[[Json], Any]


class WrongValueError(ValueError):
    """A value cannot be read. The message goes on where the argument's name ends."""


_OLD_RESOURCES = {
    "memory": "memory",
    "cpu": "cpu",
    "ephemeral_storage": "ephemeral-storage",
    "ephemeral-storage": "ephemeral-storage",
    "gpu": "nvidia.com/gpu",
}


def anything(value: Json) -> Any:
    """Take objects that stay in the process: callbacks, formatters."""
    return value


def text(value: Json) -> str:
    """Take a string; a number stands for its digits, since native rendering makes numbers of them."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise WrongValueError(f"must be a string, not {_shown(value)}")
    return str(value)


def words(value: Json) -> list[str]:
    """Take a list of strings, such as a command line."""
    return [_as_text(entry) for entry in _list(value, "a list of strings")]


def flag(value: Json) -> bool:
    """Take a boolean, or the word that Jinja made of one."""
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if not isinstance(value, bool):
        raise WrongValueError(f"must be True or False, not {_shown(value)}")
    return value


def number(value: Json) -> int:
    """Take a whole number that is not negative; seconds may come as a timedelta."""
    if isinstance(value, dt.timedelta):
        value = math.ceil(value.total_seconds())
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d+\s*", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or int(value) != value:
        raise WrongValueError(f"must be a whole number, not {_shown(value)}")
    if value < 0:
        raise WrongValueError(f"must not be negative, but is {value}")
    return int(value)


def seconds(value: Json) -> int:
    """Take a deadline; none at all is said by None, not by zero."""
    found = number(value)
    if found == 0:
        raise WrongValueError("must be at least 1 second")
    return found


def duration(value: Json) -> dt.timedelta:
    """Take a timedelta, or a number of seconds."""
    return value if isinstance(value, dt.timedelta) else dt.timedelta(seconds=number(value))


def one_of(*choices: str) -> Reader:
    """Take one of these words."""

    def read(value: Json) -> str:
        if value not in choices:
            raise WrongValueError(f"must be one of {', '.join(choices)}, not {_shown(value)}")
        return str(value)

    return read


def mapping(value: Json) -> Object:
    """Take an object: a model, a dict or YAML text."""
    found = _parsed(value)
    if not isinstance(found, dict):
        raise WrongValueError(
            f"must be an object (a kubernetes.client model, a dict or YAML text), not {_shown(value)}"
        )
    return found


def mappings(value: Json) -> list[Object]:
    """Take a list of objects: models, dicts or YAML text, of the list or of an entry."""
    return [
        mapping(entry) for entry in _list(value, "a list of objects (kubernetes.client models, dicts or YAML text)")
    ]


def texts_by_name(value: Json) -> dict[str, str]:
    """Take annotations or a nodeSelector; None has been dropped already, numbers become text."""
    return {text(key): _as_text(entry) for key, entry in mapping(value).items()}


def labels(value: Json) -> dict[str, str]:
    """Take labels of the Pod, and refuse here what the Pod's creation would stumble over later."""
    found = texts_by_name(value)
    for key, entry in found.items():
        if not names.is_label_value(entry):
            raise WrongValueError(
                f"has {key}={entry!r}: a label's value is at most 63 letters, digits, '-', '_' and '.', with a letter"
                " or digit at both ends; put longer text into annotations"
            )
    return found


def pod_name(value: Json) -> str:
    """Take a name by KubernetesPodOperator's rule; what is no DNS name of it is replaced later."""
    found = text(value)
    if len(found) > 220 or re.fullmatch(r"[\w.-]+", found) is None:
        raise WrongValueError(f"may hold up to 220 letters, digits, '-', '_' and '.', but is {_shown(found)}")
    if not names.slug(found):
        raise WrongValueError(f"needs at least one letter a-z or digit, but is {_shown(found)}")
    return found


def dns_label(value: Json) -> str:
    """Take a namespace or a container's name."""
    found = text(value)
    if len(found) > 63 or re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", found) is None:
        raise WrongValueError(
            f"must be at most 63 lower case letters, digits and '-', with a letter or digit at both ends, not {found!r}"
        )
    return found


def variables(value: Json) -> list[Object]:
    """Take environment variables: a dict, a list of V1EnvVar or dicts, or YAML text of either."""
    found = _parsed(value)
    if isinstance(found, dict):
        found = as_variables(found)
    return [_variable(entry) for entry in mappings(found)]


def without_repeats(entries: list[Object], key: str) -> list[Object]:
    """Drop an entry that stands there twice, and refuse two different ones of one key: one would be lost."""
    kept: dict[Any, Object] = {}
    for entry in entries:
        name = entry.get(key)
        if kept.setdefault(name, entry) != entry:
            raise WrongValueError(f"has two entries with the {key} {_shown(name)}; Kubernetes takes one, so remove one")
    return list(kept.values())


def _variable(entry: Object) -> Object:
    if not entry.get("name"):
        raise WrongValueError(f"has a variable without a name; its keys are {', '.join(sorted(entry)) or 'none'}")
    if "valueFrom" in entry and entry.get("value") == "":
        # Typed clients write both; for Kubernetes an empty value is none.
        return {key: part for key, part in entry.items() if key != "value"}
    return {**entry, "value": _as_text(entry["value"])} if "value" in entry else entry


def as_variables(value: Json) -> Json:
    """Make the list of a dict, so that Jinja renders the names as well."""
    return [{"name": name, "value": entry} for name, entry in value.items()] if isinstance(value, dict) else value


def field_variables(value: Json) -> list[Object]:
    """Take pod_runtime_info_envs: variables that take their value from a field of the Pod."""
    return [
        {
            "name": entry["name"],
            "valueFrom": {"fieldRef": {"fieldPath": entry.get("field_path", entry.get("fieldPath"))}},
        }
        if "field_path" in entry or "fieldPath" in entry
        else entry
        for entry in variables(value)
    ]


def references(value: Json) -> list[Object]:
    """Take image_pull_secrets: objects, names, or names in one string with commas."""
    if isinstance(value, str) and re.fullmatch(r"[\w.,\s-]*", value):
        value = [name.strip() for name in value.split(",") if name.strip()]
    entries = _list(value, "a list of V1LocalObjectReference, or names with commas between")
    return [{"name": entry} if isinstance(entry, str) else mapping(entry) for entry in entries]


def secrets(value: Json) -> list[secret.Secret]:
    """Take Airflow's Secret objects, ours, or dicts of their fields."""
    return [secret.read(mapping(entry)) for entry in _list(value, "a list of Secret objects")]


def resources(value: Json) -> Object:
    """Take V1ResourceRequirements, or the old dict with keys such as request_memory and limit_gpu."""
    found = mapping(value)
    if any(key.startswith(("request_", "limit_")) for key in found):
        found = _from_old(found)
    return {key: _quantities(entry) if isinstance(entry, dict) else entry for key, entry in found.items()}


def _from_old(old: Object) -> Object:
    found: Object = {}
    for key, value in old.items():
        side, _, kind = key.partition("_")
        if side not in ("request", "limit") or kind not in _OLD_RESOURCES:
            raise WrongValueError(
                f"has the key {key!r}: use request_ and limit_ with memory, cpu, ephemeral_storage and gpu,"
                " or a V1ResourceRequirements"
            )
        found.setdefault(f"{side}s", {})[_OLD_RESOURCES[kind]] = value
    return found


def _quantities(amounts: Object) -> Object:
    return {name: _quantity(amount) for name, amount in amounts.items() if amount != ""}


def _quantity(amount: Json) -> Json:
    """The API takes no fractions, and no exponent with a sign as Python writes it."""
    return format(decimal.Decimal(repr(amount)), "f") if isinstance(amount, float) else amount


def exit_codes(value: Json) -> list[int]:
    """Take one exit code or several."""
    codes = sorted({number(code) for code in (value if isinstance(value, list) else [_parsed(value)])})
    if 0 in codes:
        raise WrongValueError("holds 0, which is success: let the task write its wish to skip as another exit code")
    return codes


def container_names(value: Json) -> Json:
    """Take one container's name, several, or True for all."""
    if isinstance(value, bool):
        return value
    return [value] if isinstance(value, str) else words(value)


def raw_spec(value: Json) -> Object:
    """Take a part of a PodTask's spec; None in it removes what would stand there."""
    return mapping(plain.parse_text(value, nulls=True) if isinstance(value, str) else value)


def failure_policy(value: Json) -> Object:
    """Take `{"rules": […]}`, or the rules alone."""
    found = _parsed(value)
    return mapping({"rules": mappings(found)} if isinstance(found, list) else found)


def deadlines(value: Json) -> dict[str, int | None]:
    """Take deadlines by the name of their field; None takes a default away."""
    known = ("scheduleSeconds", "imagePullSeconds", "startSeconds", "runSeconds", "totalSeconds")
    found = plain.parse_text(value, nulls=True) if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise WrongValueError(f"must be a dict with some of {', '.join(known)}")
    unknown = sorted(set(found) - set(known))
    if unknown:
        raise WrongValueError(f"has {unknown[0]!r}, but there are only {', '.join(known)}")
    return {key: None if entry is None else seconds(entry) for key, entry in found.items()}


def callables(value: Json) -> list[Any]:
    """Take one callback class or several."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _list(value: Json, wanted: str) -> list[Json]:
    found = _parsed(value)
    if not isinstance(found, list):
        raise WrongValueError(f"must be {wanted}, not {_shown(value)}")
    return found


def _parsed(value: Json) -> Json:
    return plain.parse_text(value) if isinstance(value, str) else value


def _as_text(value: Json) -> str:
    """Make text of a value, as Jinja would have done; what has parts becomes JSON."""
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def _shown(value: Json) -> str:
    """Name a value in a message; an object only by its type, for it may hold secrets."""
    shown = repr(value) if isinstance(value, (str, bool, int, float)) else type(value).__name__
    return shown if len(shown) <= 80 else f"{shown[:77]}…"
