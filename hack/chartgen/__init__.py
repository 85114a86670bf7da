"""Build time only: the chart's README and JSON schema out of its commented values.yaml, so neither lags behind."""
