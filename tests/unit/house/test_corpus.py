"""The registry, the shorthand, the grammars, the validator and the corpus that is shipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mlops.house
from apaise_kit.core.labels import LABELS
from mlops.house.grammar import FOLDER, Grammar, grow, read_grammar
from mlops.house.registry import LANGUAGES, registry
from mlops.house.shorthand import CODES, ShorthandError, labelling, messages
from mlops.house.validate import balance, validate

HOUSE = Path(mlops.house.__file__).parent
CORPUS = sorted((HOUSE / "corpus").glob("*.jsonl"))
HELD_OUT = [HOUSE / f"{name}.jsonl" for name in ("test", "safety", "dev")]


def test_the_registry_explains_every_id_in_both_languages() -> None:
    assert tuple(label.id for label in registry().labels) == LABELS
    for label in registry().labels:
        for lang in LANGUAGES:
            meaning = label.meanings[lang]
            assert meaning.definition
            assert meaning.yes != meaning.no
    assert registry()["complaint"].id == "complaint"


def test_codes_name_every_label_once() -> None:
    assert sorted(CODES.values()) == sorted(LABELS)
    assert all(len(code) == 3 for code in CODES)


def test_an_attack_implies_what_the_guideline_says_and_leaves_neighbours_open() -> None:
    found = labelling("hat tus")
    assert found.labels == ("toxic", "hate", "target_user", "target_group", "remove")
    assert {"insult", "anger", "political"} <= set(found.maybe)
    assert labelling("tox", "no:rem").labels == ("toxic",)
    assert "anger" not in labelling("cmp", "no:ang").maybe
    assert labelling("-") == labelling("", "-")


@pytest.mark.parametrize(("yes", "maybe"), [("xyz", "-"), ("hat", "no:hat"), ("cmp", "no:zzz")])
def test_a_wrong_code_is_named(yes: str, maybe: str) -> None:
    with pytest.raises(ShorthandError, match=r"xyz|hate|zzz"):
        labelling(yes, maybe)


def test_a_line_becomes_a_row_and_a_bad_one_is_named_by_number() -> None:
    lines = ["# a comment", "", "fr | colis | p1 t2 | cmp tbr | - | Où est | mon colis"]
    (row,) = messages(lines, "x")
    assert row["text"] == "Où est | mon colis"
    assert (row["family"], row["pair"], row["twin"]) == ("x-colis", "x-p1-fr", "x-t2")
    with pytest.raises(ShorthandError, match="line 2: expected"):
        list(messages(["fr | a | - | cmp | - | bien", "fr | a | cmp | mal"], "x"))


GRAMMAR = Grammar(
    "fr",
    [{"les": f"les {name}", "un": f"un {name}"} for name in ("chats", "chiens", "oiseaux")],
    {"good": ["bien", "beau"], "bad": ["mal", "laid"]},
    [
        {
            "family": "pair",
            "paired": True,
            "draws": 3,
            "hat": ["dehors {les}, [oui|si]"],
            "-": ["bonjour {les}, [oui|si]"],
        },
        {"family": "tone", "paired": True, "draws": 2, "sar": ["{les} {bad}"], "pra": ["{les} {good}"]},
        {"family": "one", "cmp / ang": ["[|ah] {un} {good}"]},
    ],
)


def test_a_grammar_is_the_same_each_time_and_fills_pairs_alike() -> None:
    rows = grow(GRAMMAR)
    assert rows == grow(GRAMMAR)
    pairs: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if "pair" in row:
            pairs.setdefault(row["pair"], []).append(row)
    assert len(pairs) == 5
    for one, other in pairs.values():
        assert one["labels"] != other["labels"]
        assert one["text"].split(" ", 1)[1] == other["text"].split(" ", 1)[1] or one["family"] == "g-fr-tone"
    tones = [pair for pair in pairs.values() if pair[0]["family"] == "g-fr-tone"]
    assert all(("mal" in one["text"]) == ("bien" in other["text"]) for one, other in tones)
    assert all("{" not in row["text"] and "[" not in row["text"] for row in rows)


def test_groups_go_through_hateful_and_harmless_frames_alike() -> None:
    for path in FOLDER.glob("*.yaml"):
        grammar = read_grammar(path)
        rows = grow(grammar)
        hateful, harmless = (
            [
                sum(
                    ("hate" in row["labels"]) is wanted and any(form in row["text"] for form in group.values())
                    for row in rows
                )
                for group in grammar.groups
            ]
            for wanted in (True, False)
        )
        assert min(hateful) > 0, path.name
        assert min(harmless) > 0, path.name


def row(text: str, **more: Any) -> str:
    return json.dumps({"text": text, "lang": "fr", "labels": [], "maybe": [], "family": "f", "origin": "hand", **more})


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["{"], "not a JSON object"),
        (['{"text": "a"}'], "lacks lang"),
        ([row("a", labels=["nice"])], "unknown labels: nice"),
        ([row("a", labels=["anger"], maybe=["anger"])], "both YES and masked"),
        ([row("a", lang="xx")], "unknown language"),
        ([row("a", origin="found")], "origin"),
        ([row(" ")], "empty text"),
        ([row("merci @jeanne_d")], "a handle or a link"),
        ([row("voyez https://a.test/x")], "a handle or a link"),
        ([row("a", labels=["hate"])], "hate implies"),
        ([row("a", note="b")], "unknown fields: note"),
        ([row("Éa!"), row("ea")], "repeats a.jsonl:1"),
        ([row("a", pair="p")], "has 1 members"),
        ([row("a", pair="p"), row("b", pair="p")], "does not flip"),
        ([row("a", twin="t", labels=["joy"]), row("b", twin="t")], "other labels"),
        ([row("on se retrouve tous demain soir ici")], "nearly repeats held-out"),
    ],
)
def test_the_validator_finds(tmp_path: Path, lines: list[str], problem: str) -> None:
    corpus, held_out = tmp_path / "a.jsonl", tmp_path / "held.jsonl"
    corpus.write_text("\n".join(lines))
    held_out.write_text(row("On se retrouve tous demain soir ici !", family="h"))
    assert any(problem in found.what for found in validate([corpus], [held_out]))


def test_a_clean_corpus_has_no_problem(tmp_path: Path) -> None:
    corpus = tmp_path / "a.jsonl"
    corpus.write_text(
        "\n".join([row("écrivez à aide@boutique.example"), row("b", pair="p", labels=["joy"]), row("c", pair="p")])
    )
    assert validate([corpus]) == []


def test_the_shipped_corpus_is_what_it_promises() -> None:
    problems = validate([*CORPUS, *HELD_OUT], [])
    assert problems == []
    assert [found for found in validate(CORPUS, HELD_OUT) if "held-out" in found.what] == []
    figures = balance(CORPUS)
    assert figures["messages"] >= 8000
    assert figures["origins"]["hand"] >= 4000
    assert figures["pairs"] >= 500
    assert min(figures["labels"].get(label, 0) for label in LABELS) >= 50


def test_the_shipped_grammar_rows_are_the_grammars() -> None:
    for path in FOLDER.glob("*.yaml"):
        kept = (HOUSE / "corpus" / f"grammar_{path.stem}.jsonl").read_text(encoding="utf-8").splitlines()
        assert [json.loads(line) for line in kept] == grow(read_grammar(path))
