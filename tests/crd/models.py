"""Reads and writes PodTasks by the pydantic models, for tests that compare the models with the generated schema."""

from typing import Any

from pydantic import BaseModel, ValidationError

from podtask.api.v1alpha1.resource import PodTask

Json = Any


def parse(obj: Json) -> PodTask:
    """The object as a model; raises pydantic's ValidationError."""
    return PodTask.model_validate(obj)


def problems(obj: Json) -> list[str]:
    """The fields that pydantic refuses, each as `spec.env[1].name: message`."""
    try:
        parse(obj)
    except ValidationError as error:
        return [f"{_path(found['loc'])}: {found['msg']}" for found in error.errors(include_url=False)]
    return []


def dump(model: BaseModel) -> Json:
    """The model as JSON: wire names, and only what was set."""
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _path(steps: tuple[int | str, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")
