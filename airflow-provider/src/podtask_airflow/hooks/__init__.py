"""Requests to a cluster: connection, client and errors."""
