"""The use cases, one function each: decisions, charters, reviews, and what the clock does."""
