"""Whether a process truly does its work, asked of the process itself."""

from __future__ import annotations

import http.client
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from apaise_cli.home import Home
from apaise_cli.mesh.plan import Process

_PATIENCE: Final = 2.0


@dataclass(frozen=True)
class Health:
    """What a process answered."""

    ready: bool
    answer: str


def probe(home: Home, process: Process) -> Health:
    """Ask one process. Never raises: no answer is an answer."""
    if not all(name in home.ports for name in process.ports):
        return Health(False, "no port yet")
    if process.name == "postgres":
        return _postgres(home)
    if process.name == "mlflow":
        return _http(home.ports["mlflow"], "/health")
    if process.name == "ray":
        # The head and its node each answer gRPC's standard health protocol.
        head = _grpc_health(home.ports["ray_gcs"], "")
        return head if not head.ready else _grpc_health(home.ports["ray_node"], "")
    return _grpc_health(home.ports[process.name], process.service)


def probe_all(home: Home, processes: tuple[Process, ...]) -> dict[str, Health]:
    """Ask several at once."""
    if not processes:
        return {}
    with ThreadPoolExecutor(max_workers=len(processes)) as pool:
        answers = pool.map(lambda process: probe(home, process), processes)
        return {process.name: answer for process, answer in zip(processes, answers, strict=True)}


def _postgres(home: Home) -> Health:
    import psycopg

    try:
        with psycopg.connect(
            host="127.0.0.1",
            port=home.ports["postgres"],
            user="postgres",
            dbname="postgres",
            password=home.secrets.get("postgres_postgres", ""),
            connect_timeout=int(_PATIENCE),
        ) as connection:
            connection.execute("select 1")
    except psycopg.Error as error:
        return Health(False, "starting" if "starting up" in str(error) else "no answer")
    return Health(True, "accepting connections")


def _http(port: int, path: str) -> Health:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return Health(False, "no answer")
    finally:
        connection.close()
    return Health(status == 200, "serving" if status == 200 else f"HTTP {status}")


def _grpc_health(port: int, service: str) -> Health:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            request = health_pb2.HealthCheckRequest(service=service)
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=_PATIENCE)
        except grpc.RpcError as error:
            code = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
            return Health(False, "no answer" if code is grpc.StatusCode.UNAVAILABLE else code.name.lower())
    serving = answer.status == health_pb2.HealthCheckResponse.SERVING
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return Health(serving, name.lower().replace("_", " "))
