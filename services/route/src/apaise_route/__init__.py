"""The route service: what a brand owes each message, and the people who check it."""
