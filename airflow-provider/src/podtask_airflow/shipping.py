"""Ship a Python function and its arguments into a Pod: as annotations, shown to the container as files.

An environment variable holds 128 KiB at most and is seen by everybody who may look at the Pod's environment; a
ConfigMap would be a second object to create, own and clean up. Annotations travel with the object. The image needs
python3 and nothing else: no shell, no Airflow.
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

from .exceptions import PodTaskConfigurationError

PART_BYTES = 64 * 1024
TOTAL_BYTES = 190 * 1024
"""All annotations of an object together hold 256 KiB; the rest is left to others."""
DIRECTORY = "/podtask-airflow"
VOLUME = "podtask-airflow"
_PREFIX = "podtask-airflow/payload-"
_PICKLE_PROTOCOL = 4
"""The newest that every Python 3 still in use can read."""

RUNNER = """\
import __future__, base64, importlib, json, linecache, os, sys, traceback, zlib
directory, parts, result_path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
packed = "".join(open(os.path.join(directory, str(n))).read() for n in range(parts))
shipped = json.loads(zlib.decompress(base64.b64decode(packed)))
source, arguments = shipped["source"], shipped["arguments"]
if shipped["by"] != "json":
    arguments = importlib.import_module(shipped["by"]).loads(base64.b64decode(arguments))
linecache.cache["task.py"] = (len(source), None, source.splitlines(True), "task.py")
scope = {"__name__": "podtask_function"}
try:
    exec(compile(source, "task.py", "exec", __future__.annotations.compiler_flag), scope)
    result = scope[shipped["name"]](*arguments[0], **arguments[1])
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
    """Give a function's source without the decorator that made it a task, and what stands above that one."""
    text = textwrap.dedent(inspect.getsource(function))
    found = ast.parse(text).body[0]
    if not isinstance(found, ast.FunctionDef):
        raise PodTaskConfigurationError("Only a function that is written with def can be shipped into a Pod")
    ours = [i for i, decorator in enumerate(found.decorator_list) if "podtask" in ast.unparse(decorator)]
    # Airflow's own way looks for the decorator's usual spelling, and leaves any other in the text.
    kept = found.decorator_list[ours[-1] + 1 if ours else 1 :]
    begin = kept[0].lineno if kept else found.lineno
    return "\n".join(text.splitlines()[begin - 1 :]) + "\n"


def pack(source: str, name: str, args: Any, kwargs: Any, *, use_dill: bool = False) -> list[str]:
    """Give the parts of the payload. Arguments that JSON keeps as they are travel as JSON, others pickled."""
    by, arguments = _arguments([list(args), dict(kwargs)], use_dill=use_dill)
    shipped = json.dumps({"source": source, "name": name, "by": by, "arguments": arguments})
    packed = base64.b64encode(zlib.compress(shipped.encode(), 9)).decode()
    if len(packed) > TOTAL_BYTES:
        raise PodTaskConfigurationError(
            f"The function and its arguments are {len(packed)} bytes packed, and {TOTAL_BYTES} is the most that a"
            " PodTask carries: pass a reference to large data, such as an object store's path"
        )
    return [packed[begin : begin + PART_BYTES] for begin in range(0, len(packed), PART_BYTES)]


def load(podtask: dict[str, Any], parts: list[str], *, python: str, result_path: str) -> dict[str, Any]:
    """Give the PodTask that carries the parts and runs them."""
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
            "command": [python, "-c", RUNNER, DIRECTORY, str(len(parts)), result_path],
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
    """Whether JSON gives back the same: no tuples, no numbers as keys, no dates."""
    if isinstance(value, list) and type(value) is list:
        return all(map(_is_json, value))
    if type(value) is dict:
        return all(type(key) is str and _is_json(entry) for key, entry in value.items())
    return value is None or type(value) in {str, bool, int, float}
