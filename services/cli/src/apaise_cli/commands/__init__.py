"""The commands: each reads its arguments, does its work through the rest of the package, and shows the result."""
