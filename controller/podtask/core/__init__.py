"""Decisions about one task, without I/O, clock or logging, so that tests can try them by the thousand."""
