"""The only place that speaks HTTP to the Kubernetes API."""
