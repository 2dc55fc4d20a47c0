"""Between the outside and the use cases."""
