"""What ingest and route may bring along: they run on small machines, without any model library."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "ray", "transformers", "peft", "mlflow", "apaise-mlops", "numpy"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> set[str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return {canonical(line.split("==")[0]) for line in lines if re.match(r"[A-Za-z0-9]", line)}


def projects() -> dict[str, list[str]]:
    """Our own packages and what each declares."""
    found = {}
    for file in [
        *ROOT.glob("services/*/pyproject.toml"),
        ROOT / "protos/pyproject.toml",
        ROOT / "mlops/pyproject.toml",
    ]:
        project = tomllib.loads(file.read_text())["project"]
        found[canonical(project["name"])] = project["dependencies"]
    return found


def closure(project: str) -> set[str]:
    """Every distribution a project needs, directly or not, as the lock and the packages' own metadata say."""
    ours, seen, todo = projects(), set[str](), [Requirement(project)]
    while todo:
        requirement = todo.pop()
        name = canonical(requirement.name)
        marker = requirement.marker
        if name in seen or (marker and not any(marker.evaluate({"extra": e}) for e in (*requirement.extras, ""))):
            continue
        seen.add(name)
        if name in ours:
            todo += [Requirement(each) for each in ours[name]]
            continue
        assert name in locked(), f"{name}, needed by {project}, is not in requirements.lock"
        try:
            declared = requires(name) or []
        except PackageNotFoundError:
            pytest.fail(f"{name} is locked and not installed: run make setup")
        for line in declared:
            needed = Requirement(line)
            if not needed.marker or any(needed.marker.evaluate({"extra": e}) for e in (*requirement.extras, "")):
                needed.marker = None
                todo.append(needed)
    return seen


@pytest.mark.parametrize("project", ["apaise-ingest", "apaise-route"])
def test_the_locks_closure_holds_no_model_library(project: str) -> None:
    needed = closure(project)
    assert "grpcio" in needed
    assert not needed & HEAVY


def test_the_closure_does_find_them_where_they_are() -> None:
    assert {"torch", "ray"} <= closure("apaise-classify")
    assert {"torch", "ray", "peft", "mlflow"} <= closure("apaise-train")


@pytest.mark.parametrize("project", sorted(projects()))
def test_whatever_a_package_needs_is_locked(project: str) -> None:
    assert closure(project) - set(projects()) <= locked()


@pytest.mark.parametrize("package", ["apaise_ingest", "apaise_route"])
def test_importing_the_whole_service_loads_no_model_library(package: str) -> None:
    code = (
        f"import sys, {package}.bootstrap, {package}.__main__;"
        "print([name for name in ('torch', 'ray', 'transformers', 'peft', 'mlflow', 'mlops') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == "[]"


def test_the_lock_names_no_index_and_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "--index-url" not in text
    assert "torch==2.13.0" in text
