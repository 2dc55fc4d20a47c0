"""Classify's outside: PostgreSQL, the replicas, and the queue in front of them."""
