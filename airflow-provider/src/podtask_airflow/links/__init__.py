"""The link on a task's page."""
