"""Whole lives of tasks on a model of the API server: seeded faults, virtual time, and laws that must hold in each.

A life takes milliseconds, so that rare meetings of faults are met in every test run. `tests/conformance` holds the
model against a real API server; `test_mutations.py` shows that the laws catch a product that is broken on purpose.
"""
