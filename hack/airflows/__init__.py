"""Real Airflow installations for the tests: one virtual environment for each version that the provider supports.

The provider promises to run from 2.10 to 3.3, and that promise is worth what runs in these environments. They are kept
outside the repository, keyed by their lock file, because Airflow's some two hundred packages are the slow part.
"""
