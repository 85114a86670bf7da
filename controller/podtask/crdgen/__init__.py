"""Generates the CRD, the chart's copy of it and the reference pages from the pydantic models. Build time only."""
