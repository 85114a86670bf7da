"""The images of the development cluster: which there are, how they are built without a registry, and loading them."""
