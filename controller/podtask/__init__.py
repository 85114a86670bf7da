"""PodTask: containerised tasks as Kubernetes objects."""

__version__ = "0.1.0"
