"""Exit code 0 when a gRPC server of this container answers SERVING to the standard health check.

Usage: healthcheck.py [PORT …]; without a port, the one in APAISE_PORT.
"""

from __future__ import annotations

import os
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

_PATIENCE_SECONDS = 3.0


def serving(port: str) -> bool:
    """Whether the server on this port of the container says SERVING for itself as a whole."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=_PATIENCE_SECONDS
            )
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    sys.exit(not all(serving(port) for port in sys.argv[1:] or [os.environ["APAISE_PORT"]]))
