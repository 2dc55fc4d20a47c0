"""gRPC: decode, call the use case, encode."""
