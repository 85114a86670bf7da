"""Measurements of PodTask and other systems under the same loads."""
