"""Two interpreters run this folder: what needs Airflow inside of itself is not for the main one, and the reverse."""

import importlib.util

_OUTSIDE = ["real", "test_celery.py", "test_chaos.py"]
_INSIDE = ["unit", "apiserver"]
collect_ignore = _OUTSIDE if importlib.util.find_spec("airflow") else _INSIDE
