"""What touches the world: YAML and CEL, PostgreSQL, metrics."""
