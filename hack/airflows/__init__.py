"""Airflow installations for the tests: one virtual environment for each version that the provider supports.

The tests of the provider run in each of them. They are outside the repository and keyed by their lock file, because
installing Airflow's two hundred packages is slow.
"""
