"""Two interpreters run this folder: what needs Airflow inside of itself is not for the main one, and the reverse."""

import importlib.util

collect_ignore = ["real", "test_chaos.py"] if importlib.util.find_spec("airflow") else ["unit", "apiserver"]
