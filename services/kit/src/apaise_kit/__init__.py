"""What every Apaise service shares.

`core` is pure (standard library only) and may be imported by a service's domain; `runtime` holds the server and client
factories, the database, settings, logs and telemetry; `testing` holds fakes and fixtures.
"""
