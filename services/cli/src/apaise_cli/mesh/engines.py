"""How each process of the mesh is started: its command line and environment."""

from __future__ import annotations

import os
import sys
from typing import Final

from apaise_cli.home import Home
from apaise_cli.mesh import postgres
from apaise_cli.mesh.plan import BY_NAME
from apaise_cli.mesh.sweep import PROCESS_TAG, TAG

# What a person's shell may hold that would send a mesh's process to somebody else's cluster or server.
_FOREIGN: Final = (
    "RAY_ADDRESS",
    "RAY_NAMESPACE",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_REGISTRY_URI",
    "PGHOST",
    "PGPORT",
    "PGDATA",
)
_OBJECT_STORE_BYTES: Final = 256 * 1024 * 1024


def command(home: Home, name: str) -> list[str]:
    """The command line of a process. Never a secret in it: anyone on the machine can read command lines."""
    if name == "postgres":
        return postgres.command(home)
    if name == "ray":
        return _python("ray.scripts.scripts", *_ray_options(home))
    if name == "mlflow":
        port, folder = str(home.ports["mlflow"]), home.artifacts.as_uri()
        options = ("--host", "127.0.0.1", "--port", port, "--workers", "1", "--artifacts-destination", folder)
        return _python("mlflow", "server", *options)
    return _python(f"apaise_{name}")


def _python(module: str, *options: str) -> list[str]:
    # -P: the folder `apaise up` was called from is no place to import from.
    return [sys.executable, "-P", "-m", module, *options]


def _ray_options(home: Home) -> list[str]:
    ports = home.ports
    # Logical CPUs: on a small machine a Serve replica, its controller and a training task must fit side by side.
    cpus = max(4, os.cpu_count() or 1)
    options = {
        "--node-ip-address": "127.0.0.1",
        "--port": ports["ray_gcs"],
        "--node-manager-port": ports["ray_node"],
        "--object-manager-port": ports["ray_objects"],
        "--ray-client-server-port": ports["ray_client"],
        "--dashboard-agent-listen-port": ports["ray_agent_http"],
        "--dashboard-agent-grpc-port": ports["ray_agent_grpc"],
        "--runtime-env-agent-port": ports["ray_runtime_env"],
        "--metrics-export-port": ports["ray_metrics"],
        "--dashboard-port": ports["ray_dashboard"],
        "--include-dashboard": "false",
        "--include-log-monitor": "false",
        "--num-cpus": cpus,
        "--object-store-memory": _OBJECT_STORE_BYTES,
        "--temp-dir": home.ray_temp,
    }
    flat = [str(part) for pair in options.items() for part in pair]
    return ["start", "--head", "--block", "--disable-usage-stats", *flat]


def environment(home: Home, name: str) -> dict[str, str]:
    """The environment of a process: the person's own, without what points elsewhere, with this mesh's settings."""
    inherited = {key: value for key, value in os.environ.items() if key not in _FOREIGN}
    return {**inherited, **_common(home, name), **_own(home, name)}


def _common(home: Home, name: str) -> dict[str, str]:
    return {
        TAG: str(home.path),
        PROCESS_TAG: name,
        "APAISE_HOME": str(home.path),
        "PYTHONUNBUFFERED": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",
    }


def _own(home: Home, name: str) -> dict[str, str]:
    if name == "postgres":
        return {"LC_ALL": "C"}
    if name == "mlflow":
        # Its job runner is for evaluations of language models: three more processes nobody asks for here.
        jobs = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        return {"MLFLOW_BACKEND_STORE_URI": postgres.dsn(home, "mlflow"), **jobs}
    if name == "ray":
        # Replicas and training tasks share the cores with everything else: OpenMP's threads must sleep between two
        # matrix products, not spin.
        return {"OMP_WAIT_POLICY": "PASSIVE", **ray_access(home)}
    return _service(home, name)


def ray_access(home: Home) -> dict[str, str]:
    """What a process needs to be let into this mesh's Ray."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(home.ray_token)}


def _service(home: Home, name: str) -> dict[str, str]:
    ports = home.ports
    addresses = {
        f"APAISE_{process.name.upper()}_ADDRESS": f"127.0.0.1:{ports[process.name]}"
        for process in BY_NAME.values()
        if process.service
    }
    return {
        **addresses,
        "APAISE_HOST": "127.0.0.1",
        "APAISE_PORT": str(ports[name]),
        "APAISE_METRICS_PORT": str(ports[f"{name}_metrics"]),
        "APAISE_DSN": postgres.dsn(home),
        "APAISE_TOKENS_FILE": str(home.tokens_file),
        "APAISE_SERVICE_TOKEN": (home.tokens / "service").read_text(encoding="utf-8").strip(),
        **_only_for(home, name),
    }


def _only_for(home: Home, name: str) -> dict[str, str]:
    """Least privilege: the key of the authors' hashes goes to ingest alone, Ray and MLflow to who uses them."""
    if name == "ingest":
        return {"APAISE_AUTHOR_SECRET": home.secrets["author"]}
    if name == "route":
        return {
            "APAISE_WEBHOOK_PORT": str(home.ports["route_webhook"]),
            "APAISE_DESKS_FILE": str(home.path / "desks.yaml"),
        }
    if name == "classify":
        return {"APAISE_RAY_ADDRESS": f"127.0.0.1:{home.ports['ray_gcs']}", **ray_access(home)}
    if name == "train":
        return {
            "APAISE_RAY_ADDRESS": f"127.0.0.1:{home.ports['ray_gcs']}",
            "APAISE_MLFLOW_URI": postgres.dsn(home, "mlflow"),
            "APAISE_MLFLOW_UI": f"http://127.0.0.1:{home.ports['mlflow']}",
            "APAISE_ARTIFACTS": str(home.artifacts),
            **ray_access(home),
        }
    return {}
