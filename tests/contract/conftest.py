"""Kubernetes' schemas are parsed once: the validator reads a megabyte of JSON again for each manifest."""

import functools
from collections.abc import Iterator

import pytest
from kubernetes_validate import utils


@pytest.fixture(autouse=True, scope="session")
def _parsed_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(utils, "schema_contents", functools.cache(utils.schema_contents))
        yield
