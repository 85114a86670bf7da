"""The list of Airflow versions, for the code that builds, tests or documents them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

LOCKS = Path(__file__).resolve().parent / "locks"
PYTHON = "3.11"

# Packages that the tests need in every environment, and those that the provider needs.
TESTS = ("pytest>=9", "pytest-asyncio>=1.3", "pytest-timeout>=2.4", "hatchling>=1.27", "editables>=0.5")
PROVIDER = ("kubernetes>=28", "pyyaml>=6")

# With SQLite, a scheduler of a whole Airflow sometimes ends with "database is locked".
POSTGRESQL_3 = ("psycopg2-binary", "asyncpg")


class Depth(enum.Enum):
    """How much is tested with a version."""

    FULL = "full"
    """All components, with DAGs that run on a real cluster."""
    UNIT = "unit"
    """Unit tests, and one operator and one trigger against a real API server."""
    PEER = "peer"
    """The original KubernetesPodOperator, for comparison, next to our provider."""


@dataclass(frozen=True)
class Environment:
    """One installation: `name` names its lock file and its directory."""

    name: str
    airflow: str
    depth: Depth
    more: tuple[str, ...] = ()

    @property
    def lock(self) -> Path:
        """Path of the lock file."""
        return LOCKS / f"{self.name}.txt"

    @property
    def requirements(self) -> tuple[str, ...]:
        """Packages that the lock file is resolved from."""
        return (f"apache-airflow=={self.airflow}", *PROVIDER, *TESTS, *self.more)


ENVIRONMENTS = (
    Environment("3.3.2", "3.3.2", Depth.FULL, (*POSTGRESQL_3, "apache-airflow-providers-celery", "redis")),
    Environment("2.11.0", "2.11.0", Depth.FULL, ("psycopg2-binary",)),
    Environment("2.10.5", "2.10.5", Depth.UNIT),
    Environment("3.0.6", "3.0.6", Depth.UNIT),
    Environment("3.1.8", "3.1.8", Depth.UNIT),
    Environment("3.2.2", "3.2.2", Depth.UNIT),
    Environment("kpo-3.3.2", "3.3.2", Depth.PEER, (*POSTGRESQL_3, "apache-airflow-providers-cncf-kubernetes==10.25.*")),
)


def find(name: str) -> Environment:
    """Return the environment of that name."""
    for environment in ENVIRONMENTS:
        if environment.name == name:
            return environment
    raise KeyError(name)


def supported() -> list[Environment]:
    """Return the versions that the provider supports."""
    return [environment for environment in ENVIRONMENTS if environment.depth is not Depth.PEER]
