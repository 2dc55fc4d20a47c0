"""The pages that must say what the code says."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from apaise_kit.core.labels import LABELS
from apaise_route.adapters import cel, charter_yaml
from apaise_route.domain.charter import MESH_RULES, POSTURES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("docker/*.md")])


def test_the_page_of_settings_is_up_to_date() -> None:
    script = [sys.executable, str(DOCS / "generate_settings.py"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_page_of_explanations_is_what_decisions_say() -> None:
    """`python docs/generate_explanations.py` writes it."""
    page = (DOCS / "explanations.md").read_text(encoding="utf-8")
    assert page == runpy.run_path(str(DOCS / "generate_explanations.py"))["page"]()
    explanations = re.findall(r"```text\n(.*?)\n\n(.*?)\n```", page, flags=re.DOTALL)
    assert len(explanations) == 20
    for text in (text for pair in explanations for text in pair):
        assert len(text.split("\n")) <= 3
        assert all(len(line) <= 100 for line in text.split("\n"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_exists(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), target


def test_every_decision_is_in_the_index() -> None:
    index = (DOCS / "adr" / "README.md").read_text(encoding="utf-8")
    records = sorted(path.name for path in (DOCS / "adr").glob("[0-9]*.md"))
    assert re.findall(r"\]\((\d{4}-[a-z0-9-]+\.md)\)", index) == records
    assert [int(name[:4]) for name in records] == list(range(1, len(records) + 1))


def test_the_page_on_charters_names_everything_a_charter_may_say() -> None:
    page = (DOCS / "charter.md").read_text(encoding="utf-8")
    words = set(re.findall(r"[\w-]+", page))
    keys = (charter_yaml.TOP, charter_yaml.CLAUSE, charter_yaml.EVENT, charter_yaml.LIST, charter_yaml.HOURS)
    assert set().union(*keys) <= words
    assert set(cel.MESSAGE_FACTS) | set(cel.AUTHOR_FACTS) | set(cel.LABEL_MAPS) <= words
    assert set(POSTURES) | MESH_RULES | set(LABELS) <= words


def test_the_charter_shown_has_no_problem() -> None:
    page = (DOCS / "charter.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    assert charter_yaml.read_charter(shown).problems == []
