"""Real Airflow as tests see it: all its components as processes of their own, and its REST API.

What a provider promises about kills, restarts and results is a promise about these processes; `dag.test()` has none.
"""

from .installation import Airflow
from .rest import Rest, RunState

__all__ = ["Airflow", "Rest", "RunState"]
