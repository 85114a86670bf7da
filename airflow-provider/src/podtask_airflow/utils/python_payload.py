"""Transfer a Python function and its arguments into a Pod: as annotations, mounted as files (downward API).

An environment variable holds 128 KiB at most and is visible wherever the Pod's environment is; a ConfigMap would be a
second object to create, own and delete. The image needs python3, and neither a shell nor Airflow.
"""

from __future__ import annotations

import ast
import base64
import inspect
import json
import pickle
import textwrap
import zlib
from collections.abc import Callable
from typing import Any

from ..api_types import PodTask
from ..exceptions import PodTaskConfigurationError

PART_BYTES = 64 * 1024
TOTAL_BYTES = 190 * 1024
"""Kubernetes allows 256 KiB of annotations per object; the rest is for other annotations."""
DIRECTORY = "/podtask-airflow"
VOLUME = "podtask-airflow"
_PREFIX = "podtask-airflow/payload-"
_PICKLE_PROTOCOL = 4
"""The newest protocol that Python 3.4 and later can read."""

BOOTSTRAP_SCRIPT = """\
import __future__, base64, importlib, json, linecache, os, sys, traceback, zlib
directory, parts, result_path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
packed = "".join(open(os.path.join(directory, str(n))).read() for n in range(parts))
payload = json.loads(zlib.decompress(base64.b64decode(packed)))
source, arguments = payload["source"], payload["arguments"]
if payload["by"] != "json":
    arguments = importlib.import_module(payload["by"]).loads(base64.b64decode(arguments))
linecache.cache["task.py"] = (len(source), None, source.splitlines(True), "task.py")
scope = {"__name__": "podtask_function"}
try:
    exec(compile(source, "task.py", "exec", __future__.annotations.compiler_flag), scope)
    result = scope[payload["name"]](*arguments[0], **arguments[1])
except Exception:
    traceback.print_exc()  # The interpreter itself would not show the function's lines before Python 3.13.
    sys.exit(1)
if result_path and result is not None:
    try:
        text = json.dumps(result)
    except (TypeError, ValueError) as error:
        sys.exit("The function's result is not JSON: %s" % error)
    os.makedirs(os.path.dirname(result_path), exist_ok=True)
    with open(result_path, "w") as file:
        file.write(text)
"""


def source_of(function: Callable[..., Any]) -> str:
    """Return a function's source without the decorator @task.podtask and the decorators above it."""
    text = textwrap.dedent(inspect.getsource(function))
    found = ast.parse(text).body[0]
    if not isinstance(found, ast.FunctionDef):
        raise PodTaskConfigurationError(
            "@task.podtask needs a function that is defined with def; its source is transferred into the Pod"
        )
    ours = [i for i, decorator in enumerate(found.decorator_list) if "podtask" in ast.unparse(decorator)]
    # Airflow's own function finds only the usual spelling of the decorator, and keeps any other in the source.
    kept = found.decorator_list[ours[-1] + 1 if ours else 1 :]
    begin = kept[0].lineno if kept else found.lineno
    return "\n".join(text.splitlines()[begin - 1 :]) + "\n"


def pack(source: str, name: str, args: Any, kwargs: Any, *, use_dill: bool = False) -> list[str]:
    """Return the parts of the payload. Arguments that survive JSON unchanged are sent as JSON, others pickled."""
    by, arguments = _arguments([list(args), dict(kwargs)], use_dill=use_dill)
    payload = json.dumps({"source": source, "name": name, "by": by, "arguments": arguments})
    packed = base64.b64encode(zlib.compress(payload.encode(), 9)).decode()
    if len(packed) > TOTAL_BYTES:
        raise PodTaskConfigurationError(
            f"The function and its arguments are {len(packed)} bytes when compressed, and a PodTask holds at most"
            f" {TOTAL_BYTES}: pass a reference to large data, such as a path in an object store"
        )
    return [packed[begin : begin + PART_BYTES] for begin in range(0, len(packed), PART_BYTES)]


def add_to(podtask: PodTask, parts: list[str], *, python: str, result_path: str) -> PodTask:
    """Return the PodTask with the parts as annotations and a command that runs them."""
    spec = {key: value for key, value in podtask["spec"].items() if key != "args"}
    template = dict(spec.get("template") or {})
    metadata = dict(template.get("metadata") or {})
    files = [(str(number), f"{_PREFIX}{number}") for number in range(len(parts))]
    metadata["annotations"] = {
        **(metadata.get("annotations") or {}),
        **{name: part for (_, name), part in zip(files, parts, strict=True)},
    }
    volume = {
        "name": VOLUME,
        "downwardAPI": {
            "items": [
                {"path": path, "fieldRef": {"fieldPath": f"metadata.annotations['{name}']"}} for path, name in files
            ]
        },
    }
    mount = {"name": VOLUME, "mountPath": DIRECTORY, "readOnly": True}
    return {
        **podtask,
        "spec": {
            **spec,
            "command": [python, "-c", BOOTSTRAP_SCRIPT, DIRECTORY, str(len(parts)), result_path],
            "template": {**template, "metadata": metadata},
            "volumes": [*(spec.get("volumes") or []), volume],
            "volumeMounts": [*(spec.get("volumeMounts") or []), mount],
        },
    }


def _arguments(arguments: list[Any], *, use_dill: bool) -> tuple[str, Any]:
    if use_dill:
        import dill

        return "dill", base64.b64encode(dill.dumps(arguments, protocol=_PICKLE_PROTOCOL)).decode()
    if _is_json(arguments):
        return "json", arguments
    return "pickle", base64.b64encode(pickle.dumps(arguments, protocol=_PICKLE_PROTOCOL)).decode()


def _is_json(value: Any) -> bool:
    """Return whether JSON preserves the value: no tuples, no keys that are numbers, no dates."""
    if isinstance(value, list) and type(value) is list:
        return all(map(_is_json, value))
    if type(value) is dict:
        return all(type(key) is str and _is_json(entry) for key, entry in value.items())
    return value is None or type(value) in {str, bool, int, float}
