"""The schema editors use: up to date, takes what lint takes, and refuses what it can see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from apaise_route.adapters import charter_schema, charter_yaml

ROOT = Path(__file__).parents[3]
SHIPPED = sorted(
    [*(ROOT / "services/route/charters").glob("*.yaml"), *(ROOT / "services/route/src").rglob("charters/*.yaml")]
)
FILE = ROOT / "services/route/src/apaise_route/charter.schema.json"
SEEN = ["unknown-key", "unknown-clause-key", "bad-queue", "bad-visibility", "bad-duration", "unknown-channel-kind"]


def load(path: Path) -> Any:
    # BaseLoader leaves dates as the text that was written, then booleans and numbers are read as editors do.
    class Loader(yaml.SafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {
        key: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for key, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)


def test_the_file_is_up_to_date() -> None:
    """`python docs/generate_charter_schema.py` writes it."""
    assert FILE.read_text(encoding="utf-8") == charter_schema.text()


def test_it_knows_every_key() -> None:
    schema = json.loads(FILE.read_text(encoding="utf-8"))
    assert set(schema["properties"]) == set(charter_yaml.TOP)
    assert set(schema["$defs"]["clause"]["properties"]) == set(charter_yaml.CLAUSE)
    assert set(schema["$defs"]["override"]["properties"]) == set(charter_yaml.OVERRIDE)
    assert set(schema["properties"]["events"]["items"]["properties"]) == set(charter_yaml.EVENT)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_it_takes_the_charters_that_ship(path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(charter_schema.schema())
    jsonschema.validate(load(path), charter_schema.schema(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize("name", SEEN)
def test_it_refuses_what_needs_no_compiler(name: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(load(ROOT / f"tests/charters/bad/{name}.yaml"), charter_schema.schema())
