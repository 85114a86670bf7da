"""Validate one argument, and convert it from plain data to the form that the PodTask needs.

Each validator takes a final value other than None. It raises InvalidValue, whose message continues a sentence that
begins with the argument's name. Text is accepted wherever an object is expected, because Jinja renders to text.
"""

import datetime as dt
import decimal
import json
import math
import re
from collections.abc import Callable
from typing import Any

from .. import constants, secret
from ..api_types import Json, JsonObject
from . import converters

Validator = Callable[[Json], Any]


class InvalidValue(ValueError):
    """The value is invalid. The message continues after the argument's name."""


_OLD_RESOURCES = {
    "memory": "memory",
    "cpu": "cpu",
    "ephemeral_storage": "ephemeral-storage",
    "ephemeral-storage": "ephemeral-storage",
    "gpu": "nvidia.com/gpu",
}


def anything(value: Json) -> Any:
    """Accept anything: callbacks, formatters, arguments without an effect."""
    return value


def text(value: Json) -> str:
    """Return a string; numbers are converted, because native rendering makes numbers of digits."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise InvalidValue(f"must be a string, not {_shown(value)}")
    return str(value)


def words(value: Json) -> list[str]:
    """Return a list of strings, such as a command line."""
    return [_as_text(entry) for entry in _list(value, "a list of strings")]


def flag(value: Json) -> bool:
    """Return a boolean; Jinja renders it as a word."""
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if not isinstance(value, bool):
        raise InvalidValue(f"must be True or False, not {_shown(value)}")
    return value


def number(value: Json) -> int:
    """Return an integer that is not negative; a timedelta is converted to seconds."""
    if isinstance(value, dt.timedelta):
        value = math.ceil(value.total_seconds())
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d+\s*", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or int(value) != value:
        raise InvalidValue(f"must be a whole number, not {_shown(value)}")
    if value < 0:
        raise InvalidValue(f"must not be negative, but is {value}")
    return int(value)


def seconds(value: Json) -> int:
    """Return seconds of a deadline, at least 1."""
    found = number(value)
    if found == 0:
        raise InvalidValue("must be at least 1 second")
    return found


def duration(value: Json) -> dt.timedelta:
    """Return a timedelta; a number means seconds."""
    return value if isinstance(value, dt.timedelta) else dt.timedelta(seconds=number(value))


def one_of(*choices: str) -> Validator:
    """Return a validator that accepts one of these words."""

    def read(value: Json) -> str:
        if value not in choices:
            raise InvalidValue(f"must be one of {', '.join(choices)}, not {_shown(value)}")
        return str(value)

    return read


def mapping(value: Json) -> JsonObject:
    """Return an object, given as a model, a dict or YAML text."""
    found = _parsed(value)
    if not isinstance(found, dict):
        raise InvalidValue(f"must be an object (a kubernetes.client model, a dict or YAML text), not {_shown(value)}")
    return found


def mappings(value: Json) -> list[JsonObject]:
    """Return a list of objects, given as models, dicts or YAML text of the list or of an entry."""
    return [
        mapping(entry) for entry in _list(value, "a list of objects (kubernetes.client models, dicts or YAML text)")
    ]


def texts_by_name(value: Json) -> dict[str, str]:
    """Return annotations or a nodeSelector, with values converted to strings."""
    return {text(key): _as_text(entry) for key, entry in mapping(value).items()}


def labels(value: Json) -> dict[str, str]:
    """Return labels of the Pod. Raises for values that the API server would reject when the Pod is created."""
    found = texts_by_name(value)
    for key, entry in found.items():
        if not constants.is_label_value(entry):
            raise InvalidValue(
                f"has {key}={entry!r}: a label's value is at most 63 letters, digits, '-', '_' and '.', with a letter"
                " or digit at both ends; put longer text into annotations"
            )
    return found


def pod_name(value: Json) -> str:
    """Return a name by KubernetesPodOperator's rule; characters that a DNS name cannot have are replaced later."""
    found = text(value)
    if len(found) > 220 or re.fullmatch(r"[\w.-]+", found) is None:
        raise InvalidValue(f"may hold up to 220 letters, digits, '-', '_' and '.', but is {_shown(found)}")
    if not constants.slug(found):
        raise InvalidValue(f"needs at least one letter a-z or digit, but is {_shown(found)}")
    return found


def dns_label(value: Json) -> str:
    """Return a DNS label: a namespace or the name of a container."""
    found = text(value)
    if len(found) > 63 or re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", found) is None:
        raise InvalidValue(
            f"must be at most 63 lower case letters, digits and '-', with a letter or digit at both ends, not {found!r}"
        )
    return found


def variables(value: Json) -> list[JsonObject]:
    """Return environment variables, given as a dict, a list of V1EnvVar or dicts, or YAML text of either."""
    found = _parsed(value)
    if isinstance(found, dict):
        found = as_variables(found)
    return [_variable(entry) for entry in mappings(found)]


def without_repeats(entries: list[JsonObject], key: str) -> list[JsonObject]:
    """Drop repeated equal entries. Raises for two different entries with one key, of which one would be lost."""
    kept: dict[Any, JsonObject] = {}
    for entry in entries:
        name = entry.get(key)
        if kept.setdefault(name, entry) != entry:
            raise InvalidValue(f"has two entries with the {key} {_shown(name)}; Kubernetes takes one, so remove one")
    return list(kept.values())


def _variable(entry: JsonObject) -> JsonObject:
    if not entry.get("name"):
        raise InvalidValue(f"has a variable without a name; its keys are {', '.join(sorted(entry)) or 'none'}")
    if "valueFrom" in entry and entry.get("value") == "":
        # Typed clients write both fields; for Kubernetes an empty value means none.
        return {key: part for key, part in entry.items() if key != "value"}
    return {**entry, "value": _as_text(entry["value"])} if "value" in entry else entry


def as_variables(value: Json) -> Json:
    """Convert a dict to a list, so that Jinja also renders the names."""
    return [{"name": name, "value": entry} for name, entry in value.items()] if isinstance(value, dict) else value


def field_variables(value: Json) -> list[JsonObject]:
    """Return pod_runtime_info_envs: variables whose value comes from a field of the Pod."""
    return [
        {
            "name": entry["name"],
            "valueFrom": {"fieldRef": {"fieldPath": entry.get("field_path", entry.get("fieldPath"))}},
        }
        if "field_path" in entry or "fieldPath" in entry
        else entry
        for entry in variables(value)
    ]


def references(value: Json) -> list[JsonObject]:
    """Return image_pull_secrets, given as objects, names, or one string of names separated by commas."""
    if isinstance(value, str) and re.fullmatch(r"[\w.,\s-]*", value):
        value = [name.strip() for name in value.split(",") if name.strip()]
    entries = _list(value, "a list of V1LocalObjectReference, or names with commas between")
    return [{"name": entry} if isinstance(entry, str) else mapping(entry) for entry in entries]


def secrets(value: Json) -> list[secret.Secret]:
    """Return secrets, given as Secret objects of Airflow or of this package, or as dicts of their fields."""
    return [secret.read(mapping(entry)) for entry in _list(value, "a list of Secret objects")]


def resources(value: Json) -> JsonObject:
    """Return resources, given as V1ResourceRequirements or as the old dict with keys like request_memory."""
    found = mapping(value)
    if any(key.startswith(("request_", "limit_")) for key in found):
        found = _from_old(found)
    return {key: _quantities(entry) if isinstance(entry, dict) else entry for key, entry in found.items()}


def _from_old(old: JsonObject) -> JsonObject:
    found: JsonObject = {}
    for key, value in old.items():
        side, _, kind = key.partition("_")
        if side not in ("request", "limit") or kind not in _OLD_RESOURCES:
            raise InvalidValue(
                f"has the key {key!r}: use request_ and limit_ with memory, cpu, ephemeral_storage and gpu,"
                " or a V1ResourceRequirements"
            )
        found.setdefault(f"{side}s", {})[_OLD_RESOURCES[kind]] = value
    return found


def _quantities(amounts: JsonObject) -> JsonObject:
    return {name: _quantity(amount) for name, amount in amounts.items() if amount != ""}


def _quantity(amount: Json) -> Json:
    """Convert a float to decimal text: the API does not accept the exponents that Python writes."""
    return format(decimal.Decimal(repr(amount)), "f") if isinstance(amount, float) else amount


def exit_codes(value: Json) -> list[int]:
    """Return exit codes, given as one or several."""
    codes = sorted({number(code) for code in (value if isinstance(value, list) else [_parsed(value)])})
    if 0 in codes:
        raise InvalidValue("contains 0, which means success: let the task use another exit code to be skipped")
    return codes


def container_names(value: Json) -> bool | list[str]:
    """Return names of containers, given as one or several, or True for all."""
    if isinstance(value, bool):
        return value
    return [value] if isinstance(value, str) else words(value)


def partial_spec(value: Json) -> JsonObject:
    """Return a part of a PodTask's spec; None in it removes a field."""
    return mapping(converters.parse_text(value, nulls=True) if isinstance(value, str) else value)


def failure_policy(value: Json) -> JsonObject:
    """Return a failure policy, given as `{"rules": […]}` or as the rules alone."""
    found = _parsed(value)
    return mapping({"rules": mappings(found)} if isinstance(found, list) else found)


def deadlines(value: Json) -> dict[str, int | None]:
    """Return deadlines by their field names; None removes a default."""
    known = ("scheduleSeconds", "imagePullSeconds", "startSeconds", "runSeconds", "totalSeconds")
    found = converters.parse_text(value, nulls=True) if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise InvalidValue(f"must be a dict with some of {', '.join(known)}")
    unknown = sorted(set(found) - set(known))
    if unknown:
        raise InvalidValue(f"has {unknown[0]!r}, but there are only {', '.join(known)}")
    return {key: None if entry is None else seconds(entry) for key, entry in found.items()}


def callables(value: Json) -> list[Any]:
    """Return callback classes, given as one or several."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _list(value: Json, wanted: str) -> list[Json]:
    found = _parsed(value)
    if not isinstance(found, list):
        raise InvalidValue(f"must be {wanted}, not {_shown(value)}")
    return found


def _parsed(value: Json) -> Json:
    return converters.parse_text(value) if isinstance(value, str) else value


def _as_text(value: Json) -> str:
    """Convert a value to text as Jinja would; objects and lists become JSON."""
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def _shown(value: Json) -> str:
    """Return a value for a message; of an object only the type, because it may hold secrets."""
    shown = repr(value) if isinstance(value, (str, bool, int, float)) else type(value).__name__
    return shown if len(shown) <= 80 else f"{shown[:77]}…"
