"""Pure building blocks: no gRPC, no database, no third-party package."""
