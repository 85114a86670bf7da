"""The images of the development cluster: their table, building them without a registry, and loading them."""
