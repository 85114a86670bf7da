"""What every test on the real API server stands on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import wire


@pytest.fixture(scope="session")
def admin(kubeconfig: Path) -> wire.Admin:
    """The API server, with all rights."""
    return wire.Admin(kubeconfig)


@pytest.fixture
def place(admin: wire.Admin) -> Iterator[str]:
    """A fresh namespace."""
    name = admin.namespace()
    yield name
    admin.drop(name)
