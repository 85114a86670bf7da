"""The imperative shell: it reads the cluster, calls the core for a decision, and carries the decision out."""
