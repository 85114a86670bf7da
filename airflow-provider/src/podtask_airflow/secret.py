"""Secrets for the task: Airflow's `Secret` objects, and one of our own that keeps the case of a variable's name.

Airflow's class lives in the provider that this one replaces, so it is known by its attributes and never imported.
Unlike there, the same secret always gives the same volume: the manifest of a task stays the same to the byte.
"""

import dataclasses
import hashlib
from typing import Any

Object = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Secret:
    """A key of a Kubernetes Secret as a variable, all its keys as variables (no key), or its files as a volume."""

    deploy_type: str
    deploy_target: str | None
    secret: str
    key: str | None = None
    items: tuple[Object, ...] = ()
    exact_case: bool = False
    """Keep the variable's name as it is written; Airflow's own class makes it upper case."""


@dataclasses.dataclass
class Injected:
    """What secrets become in a PodTask."""

    env: list[Object] = dataclasses.field(default_factory=list)
    env_from: list[Object] = dataclasses.field(default_factory=list)
    volumes: list[Object] = dataclasses.field(default_factory=list)
    volume_mounts: list[Object] = dataclasses.field(default_factory=list)


_FIELDS = tuple(field.name for field in dataclasses.fields(Secret))


def is_secret(value: object) -> bool:
    """Say whether this is a Secret object, of whichever package."""
    return all(hasattr(value, name) for name in ("deploy_type", "deploy_target", "secret"))


def as_data(value: Any) -> Any:
    """Make plain data of a Secret object, so that Jinja renders what is in it; anything else stays."""
    return {name: getattr(value, name) for name in _FIELDS if hasattr(value, name)} if is_secret(value) else value


def read(data: Object) -> Secret:
    """Read the fields of a Secret; raises ValueError with what to change."""
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
    """Say where each secret goes."""
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
    source: Object = {"secretName": secret.secret} | ({"items": list(secret.items)} if secret.items else {})
    injected.volumes.append({"name": name, "secret": source})
    injected.volume_mounts.append({"name": name, "mountPath": secret.deploy_target, "readOnly": True})
