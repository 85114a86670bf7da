"""A proxy in front of the real API server that lets a test choose what goes wrong with which request."""
