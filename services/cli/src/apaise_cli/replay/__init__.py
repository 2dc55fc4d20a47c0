"""A recorded event, sent again through ingest at any speed, and what became of every message."""
