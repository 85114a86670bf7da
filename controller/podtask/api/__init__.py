"""The wire contract: names, models and rules of the PodTask API."""
