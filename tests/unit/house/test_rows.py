"""Rows: what is known of them, how they are cleaned, split, mixed and weighed; and our corpus keeps its own rules."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apaise_kit.core.labels import LABELS
from mlops.house import build
from mlops.house.data import _by_votes, corpus_rows, marked_spans
from mlops.house.mixture import arrays, balance, draw, roughen
from mlops.house.pipeline import trainable_labels, validation_rows
from mlops.house.rows import Row, clean, distinct

CORPUS = Path(build.__file__).parent / "corpus"


def row(text: str, known: dict[str, float], lang: str = "fr", source: str = "corpus", group: str = "") -> Row:
    return Row(text, lang, source, known, group or text)


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("RT @someone: bien dit https://t.co/xyz", "bien dit"),
        ("[USER] really? [URL]", "really?"),
        ('""Bonjour"" @user', "Bonjour"),
        ("fish &amp; chips", "fish & chips"),
        ("écris à contact@exemple.fr", "écris à contact@exemple.fr"),
        ("un\n\n texte   long…", "un texte long"),
    ],
)
def test_traces_of_a_collection_are_removed(raw: str, kept: str) -> None:
    assert clean(raw) == kept


@given(st.text(max_size=300))
def test_cleaning_twice_changes_nothing_more_than_once_does_to_length(text: str) -> None:
    assert len(clean(clean(text))) <= len(clean(text)) <= 400


def test_duplicates_differ_by_more_than_case_and_accents() -> None:
    kept = [r.text for r in distinct([row("Été", {}), row("ete", {}), row("hiver", {}), row("!", {})])]
    assert kept == ["Été", "hiver"]


@pytest.mark.parametrize(("votes", "known"), [(0, {"hate": 0.0}), (1, {}), (2, {"hate": 1.0}), (3, {"hate": 1.0})])
def test_one_vote_of_three_leaves_a_label_open(votes: int, known: dict[str, float]) -> None:
    assert _by_votes("hate", votes) == known


def test_corpus_rows_know_every_label_but_the_arguable_ones(tmp_path: Path) -> None:
    item = {
        "text": "quelle honte",
        "lang": "fr",
        "labels": ["complaint"],
        "maybe": ["anger"],
        "family": "f",
        "origin": "hand",
    }
    (tmp_path / "a.jsonl").write_text(json.dumps(item) + "\n\n")
    (only,) = corpus_rows(tmp_path)
    assert only.known["complaint"] == 1.0
    assert "anger" not in only.known
    assert set(only.known) == set(LABELS) - {"anger"}


def test_pairs_and_families_never_straddle_the_split() -> None:
    sides: dict[str, set[bool]] = defaultdict(set)
    for item in corpus_rows(CORPUS):
        sides[f"family {item.group}"].add(item.held_out)
        if item.pair:
            sides[f"pair {item.pair}"].add(item.held_out)
    assert sides
    assert [name for name, found in sides.items() if len(found) > 1] == []


def test_families_linked_by_a_pair_or_shared_by_two_files_are_one_group(tmp_path: Path) -> None:
    def write(name: str, rows: list[tuple[str, str, str]]) -> None:
        items = [{"text": t, "lang": "fr", "labels": [], "family": f, "pair": p, "origin": "hand"} for t, f, p in rows]
        (tmp_path / name).write_text("".join(json.dumps(item) + "\n" for item in items))

    write("one.jsonl", [("a", "f1", "p"), ("b", "f2", "p"), ("c", "f2", ""), ("d", "f3", "")])
    write("two.jsonl", [("e", "f3", ""), ("f", "f4", "p")])
    groups = {item.text: item.group for item in corpus_rows(tmp_path)}
    assert groups["a"] == groups["b"] == groups["c"]
    assert groups["d"] == groups["e"]
    assert len(set(groups.values())) == 3


def test_our_corpus_keeps_its_rules() -> None:
    texts: Counter[str] = Counter()
    pairs: dict[str, list[frozenset[str]]] = defaultdict(list)
    for path in sorted(CORPUS.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            item = json.loads(line)
            assert item["text"].strip()
            assert set(item["labels"]) | set(item.get("maybe", ())) <= set(LABELS)
            assert not set(item["labels"]) & set(item.get("maybe", ()))
            texts[item["text"]] += 1
            if item.get("pair"):
                pairs[f"{path.stem}/{item['pair']}"].append(frozenset(item["labels"]))
    assert [count for count in texts.values() if count > 1] == []
    assert [name for name, members in pairs.items() if len(members) != 2 or len(set(members)) != 2] == []


def test_a_label_without_enough_positives_is_left_out() -> None:
    rows = [row(f"t{at}", {"toxic": 1.0, "hate": float(at < 5)}) for at in range(50)]
    assert trainable_labels(rows) == ("toxic",)


def test_validation_holds_only_held_out_rows_and_bounds_each_source() -> None:
    rows = [row(f"t{at}", {"toxic": 1.0}, source="xed") for at in range(6000)]
    held = validation_rows(rows)
    assert len(held) == 250
    assert all(item.held_out for item in held)


def test_a_draw_repeats_itself_with_its_seed_and_spreads_languages() -> None:
    rows = [row(f"en {at}", {"anger": 1.0}, "en", "xed") for at in range(5000)]
    rows += [row(f"fr {at}", {"anger": 1.0}, "fr", "xed") for at in range(500)]
    drawn = draw(rows, 1000, seed=5)
    assert drawn == draw(rows, 1000, seed=5)
    assert drawn != draw(rows, 1000, seed=6)
    french = sum(item.lang == "fr" for item in drawn) / len(drawn)
    assert french > 0.3  # a tenth of the rows, and French is boosted


def test_abuse_heads_weigh_the_same_on_both_sides_within_each_language() -> None:
    rows = [row(f"a{at}", {"toxic": float(at < 100)}, "fr") for at in range(150)]
    rows += [row(f"b{at}", {"toxic": float(at < 30)}, "en") for at in range(90)]
    stream = arrays(rows, ("toxic",))
    balance(rows, ("toxic",), stream)
    for lang in ("fr", "en"):
        here = np.array([item.lang == lang for item in rows])
        positive = stream.targets[:, 0] > 0.5
        assert stream.weights[here & positive].sum() == pytest.approx(stream.weights[here & ~positive].sum(), rel=1e-4)


def test_unknown_labels_have_no_weight() -> None:
    stream = arrays([row("a", {"toxic": 0.0})], ("toxic", "hate"))
    assert stream.weights.tolist() == [[1.0, 0.0]]


def test_roughening_keeps_scripts_whose_marks_matter() -> None:
    import random

    text = "हिन्दी में"
    roughened = {roughen(text, random.Random(seed)) for seed in range(80)}
    assert {each for each in roughened if len(each) == len(text)} == {text}


def test_marked_spans_are_of_held_out_texts_and_meet_the_text(tmp_path: Path) -> None:
    items = [{"text": f"you are number {n} of vile people", "toxic_char_offsets": [0, 1, 2]} for n in range(200)]
    items.append({"text": "too short", "toxic_char_offsets": [0]})
    with gzip.open(tmp_path / "toxic_spans_train.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(item) + "\n" for item in items)
    found = marked_spans(tmp_path, 10)
    assert len(found) == 10
    assert all("".join(one["text"][slice(*span)] for span in one["spans"]) == "you" for one in found)
    assert all(Row("", "en", "toxic_spans", {}, f"toxic_spans_train{number(one)}").held_out for one in found)


def number(one: dict[str, Any]) -> str:
    return str(one["text"].split()[3])
