"""What a service runs on: server, client, database, settings, logs, telemetry."""
