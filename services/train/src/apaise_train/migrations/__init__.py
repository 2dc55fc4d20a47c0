"""Revisions of the train schema."""
