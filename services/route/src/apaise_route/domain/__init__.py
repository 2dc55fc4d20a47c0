"""The rules of routing, pure: no clock, no database, no network, no randomness of its own."""
