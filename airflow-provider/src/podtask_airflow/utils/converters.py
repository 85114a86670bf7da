"""Convert arguments to plain JSON data, without importing the kubernetes package.

KubernetesPodOperator takes objects of `kubernetes.client`, whose import costs half a second. Models are recognised by
two class attributes, so those of each version, and of the asynchronous client, work. A value that Airflow resolves
later (an XComArg, a mapped value) is returned unchanged.
"""

import datetime as dt
import enum
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from ..api_types import Json

_JINJA = ("{{", "{%", "{#")


def to_dict(value: Any, *, nulls: bool = False) -> Json:
    """Return plain data. Entries that are None are dropped unless `nulls`: for the API null differs from absent."""
    if isinstance(value, enum.Enum):
        return to_dict(value.value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Mapping):
        return {key: to_dict(entry, nulls=nulls) for key, entry in value.items() if nulls or entry is not None}
    if isinstance(value, (Sequence, AbstractSet)) and not isinstance(value, (bytes, bytearray)):
        return [to_dict(entry, nulls=nulls) for entry in value if nulls or entry is not None]
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return _from_object(value)


def _from_object(value: Any) -> Json:
    names = getattr(type(value), "attribute_map", None)
    if isinstance(names, dict) and hasattr(type(value), "openapi_types"):
        return to_dict({wire: getattr(value, attribute) for attribute, wire in names.items()})
    # Port, Volume, VolumeMount and PodRuntimeInfoEnv of Airflow 1.10, which old DAGs still use.
    if callable(getattr(type(value), "to_k8s_client_obj", None)):
        return to_dict(value.to_k8s_client_obj())
    return value


def is_concrete(value: Json) -> bool:
    """Return whether a value is final: it contains no Jinja and nothing that Airflow resolves later."""
    if isinstance(value, str):
        return not any(mark in value for mark in _JINJA)
    if isinstance(value, dict):
        return all(is_concrete(key) and is_concrete(entry) for key, entry in value.items())
    if isinstance(value, list):
        return all(is_concrete(entry) for entry in value)
    return value is None or isinstance(value, (int, float, dt.timedelta))


def parse_text(text: str, *, nulls: bool = False) -> Json:
    """Parse YAML or JSON. Raises ValueError with the line of the mistake."""
    import yaml  # not at the top: the DAG processor imports this module for each file, and few need YAML

    try:
        return to_dict(yaml.safe_load(text), nulls=nulls)
    except yaml.YAMLError as error:
        raise ValueError(f"is not valid YAML: {' '.join(str(error).split())}") from error
