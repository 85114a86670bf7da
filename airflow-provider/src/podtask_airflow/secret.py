"""Kubernetes Secrets for the task: Airflow's `Secret` objects, and a class that keeps the case of a variable's name.

Airflow's class is in the provider that this one replaces, so it is recognised by its attributes and not imported.
The name of a secret's volume is computed, not drawn, so that a task always gets the same manifest.
"""

import dataclasses
import hashlib
from typing import Any

from .api_types import JsonObject


@dataclasses.dataclass(frozen=True)
class Secret:
    """A key of a Kubernetes Secret as a variable, all its keys as variables (no key), or its files as a volume."""

    deploy_type: str
    deploy_target: str | None
    secret: str
    key: str | None = None
    items: tuple[JsonObject, ...] = ()
    exact_case: bool = False
    """Keep the case of the variable's name; Airflow's class converts it to upper case."""


@dataclasses.dataclass
class Injected:
    """The fields of a PodTask that secrets are mapped to."""

    env: list[JsonObject] = dataclasses.field(default_factory=list)
    env_from: list[JsonObject] = dataclasses.field(default_factory=list)
    volumes: list[JsonObject] = dataclasses.field(default_factory=list)
    volume_mounts: list[JsonObject] = dataclasses.field(default_factory=list)


_FIELDS = tuple(field.name for field in dataclasses.fields(Secret))


def is_secret(value: object) -> bool:
    """Return whether this is a Secret object, of this package or of Airflow's."""
    return all(hasattr(value, name) for name in ("deploy_type", "deploy_target", "secret"))


def as_data(value: Any) -> Any:
    """Convert a Secret object to a dict, so that Jinja renders its fields; return anything else unchanged."""
    return {name: getattr(value, name) for name in _FIELDS if hasattr(value, name)} if is_secret(value) else value


def read(data: JsonObject) -> Secret:
    """Return the Secret of these fields. Raises ValueError, whose message says what to change."""
    unknown = sorted(set(data) - set(_FIELDS))
    if unknown or not data.get("secret"):
        wrong = f"unknown {unknown[0]!r}" if unknown else "no `secret`, the name of the Kubernetes Secret"
        raise ValueError(f"has an entry with {wrong}; a Secret has {', '.join(_FIELDS)}")
    found = Secret(
        deploy_type=data.get("deploy_type", ""),
        deploy_target=data.get("deploy_target"),
        secret=data["secret"],
        key=data.get("key"),
        items=tuple(data.get("items") or ()),
        exact_case=bool(data.get("exact_case", False)),
    )
    if found.deploy_type not in ("env", "volume"):
        raise ValueError(f"has the deploy_type {found.deploy_type!r}: use 'env' or 'volume'")
    if found.deploy_target is None and (found.key is not None or found.deploy_type == "volume"):
        raise ValueError(
            f"has no deploy_target for {found.secret!r}: name the variable, or the directory of the volume"
        )
    return found


def inject(secrets: list[Secret]) -> Injected:
    """Return the variables, volumes and mounts of the secrets."""
    injected = Injected()
    for secret in secrets:
        if secret.deploy_type == "volume":
            _mount(secret, injected)
        elif secret.key is None:
            injected.env_from.append({"secretRef": {"name": secret.secret}})
        else:
            target = str(secret.deploy_target)
            source = {"secretKeyRef": {"name": secret.secret, "key": secret.key}}
            injected.env.append({"name": target if secret.exact_case else target.upper(), "valueFrom": source})
    return injected


def _mount(secret: Secret, injected: Injected) -> None:
    digest = hashlib.sha256(f"{secret.secret}\0{secret.deploy_target}\0{secret.items}".encode()).hexdigest()[:12]
    name = f"secretvol-{digest}"
    source: JsonObject = {"secretName": secret.secret} | ({"items": list(secret.items)} if secret.items else {})
    injected.volumes.append({"name": name, "secret": source})
    injected.volume_mounts.append({"name": name, "mountPath": secret.deploy_target, "readOnly": True})
