"""What the operator and the trigger are made of. Not an interface for DAG authors."""
