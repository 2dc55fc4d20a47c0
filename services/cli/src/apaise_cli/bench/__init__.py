"""Measuring a mesh from outside: the load generator is a process of its own, on the same cores."""
