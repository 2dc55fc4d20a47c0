"""Classify's gRPC side."""
