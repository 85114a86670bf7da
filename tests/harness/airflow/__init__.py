"""Airflow for tests: all components as separate processes, and the REST API.

What a provider promises about kills, restarts and results is a promise about these processes; `dag.test()` has none.
"""

from .installation import Airflow
from .rest import Rest, RunState

__all__ = ["Airflow", "Rest", "RunState"]
