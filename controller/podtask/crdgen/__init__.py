"""Build time only: from the pydantic models to the CRD, the chart's copy of it and the field reference."""
