"""Turn whatever a DAG author may pass into plain JSON data, without importing the Kubernetes client.

KubernetesPodOperator takes objects of `kubernetes.client`, whose classes differ between the client's major versions and
cost half a second to import. Only their two class attributes are looked at here, so every version (and the
asynchronous client's, too) is understood. What is not concrete yet (an XComArg, a mapped value) passes unchanged, for
Airflow to resolve in place.
"""

import datetime as dt
import enum
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

Json = Any

_JINJA = ("{{", "{%", "{#")


def plain(value: Any, *, nulls: bool = False) -> Json:
    """Return plain data. Entries that are None are dropped, since the API gives an explicit null a meaning."""
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Mapping):
        return {key: plain(entry, nulls=nulls) for key, entry in value.items() if nulls or entry is not None}
    if isinstance(value, (Sequence, AbstractSet)) and not isinstance(value, (bytes, bytearray)):
        return [plain(entry, nulls=nulls) for entry in value if nulls or entry is not None]
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return _from_object(value)


def _from_object(value: Any) -> Json:
    names = getattr(type(value), "attribute_map", None)
    if isinstance(names, dict) and hasattr(type(value), "openapi_types"):
        return plain({wire: getattr(value, attribute) for attribute, wire in names.items()})
    # Airflow 1.10's Port, Volume, VolumeMount and PodRuntimeInfoEnv, still found in old DAGs.
    if callable(getattr(type(value), "to_k8s_client_obj", None)):
        return plain(value.to_k8s_client_obj())
    return value


def is_concrete(value: Json) -> bool:
    """Say whether a plain value is known already: no Jinja in it, nothing that Airflow has yet to resolve."""
    if isinstance(value, str):
        return not any(mark in value for mark in _JINJA)
    if isinstance(value, dict):
        return all(is_concrete(key) and is_concrete(entry) for key, entry in value.items())
    if isinstance(value, list):
        return all(is_concrete(entry) for entry in value)
    return value is None or isinstance(value, (int, float, dt.timedelta))


def parse_text(text: str, *, nulls: bool = False) -> Json:
    """Read YAML, which JSON is a part of; raises ValueError with the place of the mistake."""
    import yaml  # here, since the DAG processor imports this module for every file, and few need YAML

    try:
        return plain(yaml.safe_load(text), nulls=nulls)
    except yaml.YAMLError as error:
        raise ValueError(f"is no valid YAML: {' '.join(str(error).split())}") from error
