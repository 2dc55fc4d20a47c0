"""Stand-in communities: what is written from which decisions, and how the figures are added up."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mlops.bench import communities
from mlops.bench.communities import Community, build, convabuse, decided, hint3, multipico, summary, table, tone, video


def kept(folder: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)
    return folder


def test_a_judges_decisions_are_theirs_alone(tmp_path: Path) -> None:
    rows = [
        {"text": json.dumps({"user": "you are dumb"}), "annotations": {"Ann1": "-2", "Ann4": "1"}},
        {"text": json.dumps({"user": "hello there"}), "annotations": {"Ann4": "0"}},
    ]
    data = kept(tmp_path, "convabuse", rows)
    assert list(convabuse("Ann1").read(data)) == [("you are dumb", True)]
    assert list(convabuse("Ann4").read(data)) == [("you are dumb", False), ("hello there", False)]


def test_two_panels_never_share_a_judge(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "lang": "en", "text": {"post": "p", "reply": "sure"}, "annotations": {"Ann2": "1", "Ann3": "0"}},
        {"id": "2", "lang": "fr", "text": {"post": "p", "reply": "bien"}, "annotations": {"Ann2": "1"}},
    ]
    data = kept(tmp_path, "multipico_irony_dev", rows)
    assert list(multipico(0).read(data)) == [("sure", True)]
    assert list(multipico(1).read(data)) == [("sure", False)]


def test_rules_decide_about_their_own_texts_only(tmp_path: Path) -> None:
    comments = [{"text": text, "labels": labels} for text, labels in (("a", ["anger"]), ("b", ["anger", "love"]))]
    kept(tmp_path, "goemotions_en_train", [*comments, {"text": "c", "labels": ["love"]}])
    assert list(tone("calm", frozenset({"anger"})).read(tmp_path)) == [("a", True), ("c", False)]
    spam = [{"text": "x", "spam": 1, "video": "Youtube01-Psy"}, {"text": "y", "spam": 0, "video": "Youtube03-LMFAO"}]
    kept(tmp_path, "youtube_spam", spam)
    assert list(video("Youtube03-LMFAO").read(tmp_path)) == [("y", False)]
    kept(tmp_path, "hint3_curekart_train", [{"text": "z", "intent": "ORDER"}])
    assert list(hint3("curekart", frozenset({"ORDER"})).read(tmp_path)) == [("z", True)]


def stand_in(removed: int, left: int) -> Community:
    rows = [(f"gone number {n}", True) for n in range(removed)] + [(f"left number {n}", False) for n in range(left)]
    return Community("club", lambda data: iter([*rows, (rows[0][0].upper(), False)]))


def test_each_text_is_decided_once_and_neither_decision_is_rare(tmp_path: Path) -> None:
    rows = decided(stand_in(50, 1000), tmp_path)
    assert (sum(gone for _, gone in rows), len(rows)) == (50, 200)
    half = sum(gone for _, gone in rows[:100])
    assert 15 <= half <= 35  # shuffled: neither half holds them all
    assert rows == decided(stand_in(50, 1000), tmp_path)


def test_the_holdout_is_the_same_for_any_number_of_corrections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(communities, "COMMUNITIES", (stand_in(300, 300), stand_in(20, 20)))
    written = {}
    for count in (50, 100):
        assert build(tmp_path / str(count), tmp_path, count) == ["club"]
        folder = tmp_path / str(count) / "club"
        written[count] = [(folder / f"{side}.jsonl").read_text().splitlines() for side in ("corrections", "holdout")]
    assert [len(rows) for rows in written[50]] == [50, 300]
    assert written[50][1] == written[100][1]
    assert written[100][0][:50] == written[50][0]
    assert not set(written[100][0]) & set(written[100][1])


def document(brand: str, candidate: float, promoted: bool) -> dict[str, Any]:
    return {
        "brand": brand,
        "house": {"auc": 0.7},
        "candidate": {"auc": candidate},
        "rival_auc": 0.75,
        "gain_auc": round(candidate - 0.7, 4),
        "gate": {"promoted": promoted},
        "seconds": 10.0,
    }


def test_the_summary_counts_wins_and_what_the_gate_missed() -> None:
    found = summary(
        [document("a", 0.9, True), document("b", 0.8, False), document("c", 0.6, True), document("d", 0.65, False)]
    )
    assert (found["better_than_house"], found["losers"], found["losers_promoted"]) == (2, 2, 1)
    assert found["winners_refused"] == 1
    assert found["mean_gain_auc"] == pytest.approx(0.0375)
    assert found["mean_margin_over_rival"] == pytest.approx(-0.0125)
    untrained = {**document("e", 0.9, False), "candidate": None, "gain_auc": None}
    assert summary([untrained])["mean_gain_auc"] is None
    assert "| e | 0.700 | - | - | 0.750 | - | refused | 10 |" in table([untrained])


def test_ones_own_adapter_is_compared_with_anothers() -> None:
    own, other = document("a", 0.9, True), document("b", 0.8, True)
    found = summary([{**own, "anothers_auc": 0.7}, {**other, "anothers_auc": 0.85}])
    assert (found["mean_margin_over_anothers"], found["worse_than_anothers"]) == (0.075, 1)
