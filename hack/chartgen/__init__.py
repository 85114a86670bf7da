"""Build time only: generates the chart's README and JSON schema from the comments and defaults of values.yaml."""
