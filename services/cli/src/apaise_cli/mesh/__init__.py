"""The embedded mesh: every engine and service of Apaise on one machine, under a supervisor."""
