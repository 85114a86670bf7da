"""One suite of behaviours, run against the model of the simulation and a real API server: they may not differ."""
