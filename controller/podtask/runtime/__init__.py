"""The imperative shell: it reads the cluster, asks the core what to do, and does it."""
