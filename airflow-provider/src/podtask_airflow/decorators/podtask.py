"""@task.podtask runs a Python function in a Pod, @task.podtask_cmd runs the command that a Python function returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..operators.podtask import PodTaskOperator
from ..utils import python_payload
from ..utils.arguments import ArgumentError
from ..version_compat import DecoratedOperator, TaskDecorator, task_decorator_factory

if TYPE_CHECKING:
    from ..api_types import PodTask
    from ..utils.arguments import Arguments
    from ..utils.identity import Identity

_RESULT_PATH = "/airflow/xcom/return.json"
_COMMAND = ("cmds", "arguments")
_PUSH = staticmethod(getattr(DecoratedOperator, "xcom_push", lambda *_, **__: None))
"""Airflow 3.0 reads this attribute of a decorated operator but does not define it."""


class PodTaskFunctionOperator(DecoratedOperator, PodTaskOperator):  # type: ignore[misc]
    """Runs the function in the Pod, from its source and arguments. The image needs python3 and its imports."""

    custom_operator_name = "@task.podtask"
    template_fields: Sequence[str] = (
        "op_args",
        "op_kwargs",
        *(name for name in PodTaskOperator.template_fields if name not in _COMMAND),
    )
    # What the function closes over may not be copyable, and a deep copy is not needed.
    shallow_copy_attrs: Sequence[str] = ("python_callable",)
    xcom_push = _PUSH

    def __init__(self, *, use_dill: bool = False, python: str = "python3", **kwargs: Any) -> None:
        _reject_command(kwargs, self.custom_operator_name, "the function is what runs")
        self.use_dill = use_dill
        self.python = python
        kwargs.setdefault("name", kwargs["python_callable"].__name__)
        # The return value of a decorated function is expected as XCom.
        kwargs.setdefault("do_xcom_push", True)
        super().__init__(**kwargs)

    def build_podtask(
        self, context: Mapping[str, Any], arguments: Arguments, identity: Identity | None, suffix: int = 0
    ) -> PodTask:
        """Return the manifest, with the function in its annotations."""
        body = super().build_podtask(context, arguments, identity, suffix)
        function = self.python_callable
        source = python_payload.source_of(function)
        parts = python_payload.pack(source, function.__name__, self.op_args, self.op_kwargs, use_dill=self.use_dill)
        result_path = (arguments.xcom_path or _RESULT_PATH) if arguments.do_xcom_push else ""
        return python_payload.add_to(body, parts, python=self.python, result_path=result_path)


class PodTaskCommandOperator(DecoratedOperator, PodTaskOperator):  # type: ignore[misc]
    """Calls the function in the worker; the list that it returns is the command, or with args_only the arguments."""

    custom_operator_name = "@task.podtask_cmd"
    template_fields: Sequence[str] = ("op_args", "op_kwargs", *PodTaskOperator.template_fields)
    overwrite_rtif_after_execution = True
    shallow_copy_attrs: Sequence[str] = ("python_callable",)
    xcom_push = _PUSH

    def __init__(self, *, args_only: bool = False, **kwargs: Any) -> None:
        _reject_command(kwargs, self.custom_operator_name, "the function returns them")
        self.args_only = args_only
        kwargs.setdefault("name", kwargs["python_callable"].__name__)
        super().__init__(**kwargs)

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Call the function, then run the command that it returned."""
        made = self.render_template(_command(self.python_callable, self.op_args, self.op_kwargs, context), context)
        self.cmds: Any = None if self.args_only else made
        self.arguments: Any = made if self.args_only else None
        return super().execute(context)


def podtask_task(
    python_callable: Callable[..., Any] | None = None, multiple_outputs: bool | None = None, **kwargs: Any
) -> TaskDecorator:
    """Run the function in a Pod. `kwargs` are arguments of PodTaskOperator, except cmds and arguments."""
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=PodTaskFunctionOperator,
        **kwargs,
    )


def podtask_cmd_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """Run the command that the function returns, or with args_only=True the arguments of the image's command."""
    return task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=PodTaskCommandOperator, **kwargs
    )


def _reject_command(kwargs: Mapping[str, Any], decorator: str, why: str) -> None:
    for name in _COMMAND:
        if kwargs.get(name) is not None:
            raise ArgumentError(f"{name} cannot be given to {decorator}: {why}")


def _command(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], context: Mapping[str, Any]
) -> Any:
    known = {**context, **kwargs}
    parameters = inspect.signature(function).parameters
    takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    positional = list(parameters)[: len(args)]
    wanted = known if takes_all else {name: known[name] for name in parameters if name in known}
    made = function(*args, **{name: value for name, value in wanted.items() if name not in positional})
    if not isinstance(made, list) or not made or not all(isinstance(word, str) for word in made):
        raise TypeError(f"{function.__name__} must return a non-empty list of strings, not {made!r}")
    return made
