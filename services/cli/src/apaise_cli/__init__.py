"""The `apaise` command and the embedded mesh behind `apaise up`."""
