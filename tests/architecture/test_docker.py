"""The images and the compose file, as far as they can be held to account without building anything."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent import futures
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

from apaise_kit.runtime.auth import ROLES, TokenFile
from apaise_kit.runtime.settings import KitSettings

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
COMPOSE_FILES = sorted(DOCKER.glob("compose*.yaml"))
SERVICES = sorted(path.parents[2].name for path in ROOT.glob("services/*/src/*/settings.py"))
LIGHT = ("ingest", "route")
# Variables an image reads that are no service's setting.
FOREIGN = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "MLFLOW_BACKEND_STORE_URI", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"}


def _tool(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name(name)), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def _instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile as (name, arguments), comments dropped, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(name.upper(), rest.strip()) for name, _, rest in (line.partition(" ") for line in lines if line.strip())]


def _last_stage(dockerfile: Path) -> list[tuple[str, str]]:
    instructions = _instructions(dockerfile)
    begin = max(index for index, (name, _) in enumerate(instructions) if name == "FROM")
    return instructions[begin:]


def _compose(name: str = "compose.yaml") -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DOCKER / name).read_text(encoding="utf-8"))
    return content


def _composed() -> list[tuple[str, dict[str, Any]]]:
    return list(_compose()["services"].items())


# ---- images


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_hadolint_has_nothing_to_say(dockerfile: Path) -> None:
    done = _tool("hadolint", dockerfile)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_service_has_an_image_and_a_place_in_the_mesh() -> None:
    assert {"ingest", "classify", "route", "train"} <= set(SERVICES)
    assert set(SERVICES) <= {path.stem for path in DOCKERFILES}
    assert set(SERVICES) <= _compose()["services"].keys()


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_runs_as_nobody_in_particular_and_says_how_it_is(dockerfile: Path) -> None:
    stage = dict(_last_stage(dockerfile))
    user, group = (int(part) for part in stage["USER"].split(":"))
    assert user >= 10_000
    assert group >= 10_000
    assert "CMD" in stage["HEALTHCHECK"]
    assert "entrypoint.sh" in stage["ENTRYPOINT"]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_a_base_image_is_slim_and_pinned_by_tag(dockerfile: Path) -> None:
    for name, arguments in _instructions(dockerfile):
        if name == "FROM":
            assert re.fullmatch(r"python:3\.11(\.\d+)?-slim(-\w+)?( AS \w+)?", arguments)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_what_an_image_copies_exists_and_enters_the_build(dockerfile: Path) -> None:
    admitted = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for name, arguments in _instructions(dockerfile):
        words = [word for word in arguments.split() if not word.startswith("--chmod")]
        if name != "COPY" or any(word.startswith("--from") for word in words):
            continue
        for source in words[:-1]:
            assert (ROOT / source).exists(), source
            assert any(source == one or source.startswith(f"{one}/") for one in admitted), source


@pytest.mark.parametrize("service", LIGHT)
def test_the_light_images_hold_neither_models_nor_ray(service: str) -> None:
    text = (DOCKER / f"{service}.Dockerfile").read_text()
    copied = {
        arguments.split()[0] for name, arguments in _instructions(DOCKER / f"{service}.Dockerfile") if name == "COPY"
    }
    assert not copied & {"mlops", "services/classify", "services/train", "services/cli"}
    assert "ray start" not in text


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_installs_every_package_it_copies_under_the_lock(dockerfile: Path) -> None:
    instructions = _instructions(dockerfile)
    copied = {arguments.split()[0] for name, arguments in instructions if name == "COPY"}
    packages = {source for source in copied if (ROOT / source / "pyproject.toml").exists()} | {"protos"}
    wheels = next(arguments for name, arguments in instructions if name == "RUN" and "pip wheel" in arguments)
    assert {word.removeprefix("./") for word in wheels.split() if word.startswith("./")} == packages
    assert any("--constraint /src/requirements.lock" in arguments for name, arguments in instructions if name == "RUN")


# ---- compose


@pytest.mark.parametrize("compose", COMPOSE_FILES, ids=lambda path: path.stem)
def test_compose_follows_its_specification(compose: Path) -> None:
    done = _tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", compose)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "service"), _composed(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_service_of_the_mesh_is_pinned_bounded_and_watched(name: str, service: dict[str, Any]) -> None:
    tag = service["image"].rpartition("/")[2].partition(":")[2]
    assert tag
    assert "latest" not in tag
    limits = service["deploy"]["resources"]["limits"]
    assert limits["cpus"]
    assert limits["memory"]
    assert service["restart"] == "unless-stopped"
    assert "no-new-privileges:true" in service["security_opt"]
    built = service.get("build", {}).get("dockerfile")
    assert service.get("healthcheck") or "HEALTHCHECK" in dict(_last_stage(ROOT / built))
    assert built is None or (ROOT / built).exists()


def test_what_is_awaited_is_awaited_until_it_is_healthy() -> None:
    services = _compose()["services"]
    for _, service in _composed():
        for awaited, how in service.get("depends_on", {}).items():
            assert awaited in services
            assert how == {"condition": "service_healthy"}


def test_ports_are_published_on_this_host_alone() -> None:
    for name, service in _composed():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name
    assert "ports" not in _compose()["services"]["postgres"]
    assert _compose()["networks"]["data"]["internal"] is True


def _secret_variables(service: dict[str, Any]) -> set[str]:
    targets = [one if isinstance(one, str) else one["target"] for one in service.get("secrets", [])]
    return {target for target in targets if target[0].isupper()}


@pytest.mark.parametrize("name", SERVICES)
def test_every_variable_given_to_a_service_is_one_it_reads(name: str) -> None:
    settings: type[KitSettings] = getattr(import_module(f"apaise_{name}.settings"), f"{name.capitalize()}Settings")
    known = {f"APAISE_{field.upper()}" for field in settings.model_fields}
    # Every service is told where all the others are.
    known |= {f"APAISE_{other.upper()}_ADDRESS" for other in SERVICES}
    service = _compose()["services"][name]
    image = " ".join(arguments for key, arguments in _last_stage(DOCKER / f"{name}.Dockerfile") if key == "ENV")
    given = {*service["environment"], *_secret_variables(service), *re.findall(r"APAISE_\w+(?==)", image)}
    assert given - known - FOREIGN == set()
    required = {f"APAISE_{key.upper()}" for key, field in settings.model_fields.items() if field.is_required()}
    assert required | {"APAISE_DSN", "APAISE_TOKENS_FILE", "APAISE_SERVICE_TOKEN", "APAISE_HOST"} <= given


def test_the_key_of_the_authors_hashes_goes_to_ingest_alone() -> None:
    having = [name for name, service in _composed() if "APAISE_AUTHOR_SECRET" in _secret_variables(service)]
    assert having == ["ingest"]


def test_secrets_come_from_files_that_git_and_builds_never_see() -> None:
    compose = _compose()
    for secret in compose["secrets"].values():
        assert secret["file"].startswith("./secrets/")
    assert "secrets/" in (DOCKER / ".gitignore").read_text().splitlines()
    admitted = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert not [line for line in admitted if line.rstrip("/") in ("!docker", "!docker/secrets", "!*")]
    values = [str(value) for _, service in _composed() for value in service.get("environment", {}).values()]
    assert not [value for value in values if "://" in value and "@" in value]


# ---- the small programs inside


def _make_secrets(folder: Path) -> list[str]:
    spec = importlib.util.spec_from_file_location("make_secrets", DOCKER / "make_secrets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: list[str] = module.make(folder)
    return made


def test_secrets_are_made_once_and_accepted_by_the_services(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    made = _make_secrets(folder)
    assert {Path(secret["file"]).name for secret in _compose()["secrets"].values()} <= set(made)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    tokens = TokenFile(folder / "tokens.yaml")
    for role in ROLES:
        entry = tokens.lookup((folder / f"token_{role}").read_text())
        assert entry is not None
        assert entry.roles == {role}
    before = {path.name: path.read_text() for path in folder.iterdir()}
    assert _make_secrets(folder) == []
    assert {path.name: path.read_text() for path in folder.iterdir()} == before
    assert before["postgres_apaise"] in before["apaise_dsn"]


def _entrypoint(secrets: Path, *command: str, **extra: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "APAISE_SECRETS_DIR": str(secrets), **extra}
    return subprocess.run(
        [str(DOCKER / "entrypoint.sh"), *command], env=environment, capture_output=True, text=True, check=False
    )


def test_the_entrypoint_turns_files_into_variables_and_leaves_the_others_alone(tmp_path: Path) -> None:
    (tmp_path / "APAISE_DSN").write_text("postgresql+psycopg://a:p w'\"$x@h/d\n")
    (tmp_path / "tokens.yaml").write_text("tokens: []\n")
    done = _entrypoint(tmp_path, "env")
    assert done.returncode == 0, done.stderr
    assert "APAISE_DSN=postgresql+psycopg://a:p w'\"$x@h/d" in done.stdout.splitlines()
    assert "tokens" not in done.stdout.replace(str(tmp_path), "")


def test_the_entrypoint_without_secrets_just_becomes_the_command(tmp_path: Path) -> None:
    assert _entrypoint(tmp_path, "sh", "-c", "exit 7").returncode == 7


FAKE_RAY = """#!{python} -I
import os, pathlib, socket, sys, time
sockets = pathlib.Path(os.environ["RAY_TMPDIR"], "ray/session_latest/sockets")
sockets.mkdir(parents=True)
socket.socket(socket.AF_UNIX).bind(str(sockets / "raylet"))
print("joined", *sys.argv[1:], flush=True)
while not pathlib.Path(os.environ["RAY_TMPDIR"], "lost").exists():
    time.sleep(0.05)
"""


def test_a_driver_of_ray_has_a_node_beside_it_and_ends_with_it() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # a short path: it holds a unix socket
        ray = Path(folder, "ray-fake", "ray")
        ray.parent.mkdir()
        ray.write_text(FAKE_RAY.format(python=sys.executable))
        ray.chmod(0o755)
        script = f"echo driving; touch {folder}/lost; exec sleep 60"
        done = _entrypoint(
            Path(folder, "none"),
            *("sh", "-c", script),
            PATH=f"{ray.parent}:{os.environ['PATH']}",
            RAY_TMPDIR=folder,
            APAISE_RAY_ADDRESS="ray-head:6379",
        )
    assert done.stdout == "driving\n"
    assert "joined start --block --address=ray-head:6379 --num-cpus=0 --num-gpus=0" in done.stderr
    assert done.returncode == -signal.SIGTERM


@pytest.fixture
def health_server() -> Iterator[tuple[health.HealthServicer, int]]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, port
    server.stop(None).wait()


def _healthcheck(port: int) -> int:
    script = [sys.executable, str(DOCKER / "healthcheck.py")]
    return subprocess.run(script, env={**os.environ, "APAISE_PORT": str(port)}, check=False).returncode


def test_the_health_check_believes_the_server(health_server: tuple[health.HealthServicer, int]) -> None:
    servicer, port = health_server
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    assert _healthcheck(port) == 0
    servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    assert _healthcheck(port) == 1


def test_the_health_check_takes_silence_for_illness() -> None:
    assert _healthcheck(1) == 1
