"""Snapshots: frozen, the same every time, and without a copy on both sides."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apaise_kit.core.errors import FailedPrecondition, Reason
from apaise_train.domain.examples import (
    MAX_WEIGHT,
    MIN_EXAMPLES,
    Example,
    Manifest,
    fold,
    missing,
    snapshot,
    text_sha256,
    weight_of,
)
from apaise_train.testing import example, examples


def texts(manifest: Manifest, given: list[Example]) -> tuple[set[str], set[str]]:
    by_review = {each.review: each.text for each in given}
    train, holdout = ({fold(by_review[row.review]) for row in side} for side in (manifest.train, manifest.holdout))
    return train, holdout


def test_the_order_of_arrival_does_not_matter() -> None:
    given_rows = examples(120)
    shuffled = random.Random(3).sample(given_rows, len(given_rows))
    assert snapshot("acme", given_rows) == snapshot("acme", shuffled)
    assert snapshot("acme", given_rows).digest == snapshot("acme", shuffled).digest


def test_the_digest_hangs_on_every_text_decision_and_weight() -> None:
    given_rows = examples(80)
    digests = {snapshot("acme", given_rows).digest}
    changes: list[dict[str, Any]] = [{"text": "autre chose"}, {"remove": not given_rows[9].remove}, {"weight": 2.0}]
    for change in changes:
        changed = [replace(row, **change) if at == 9 else row for at, row in enumerate(given_rows)]
        digests.add(snapshot("acme", changed).digest)
    assert len(digests) == 4


def test_a_manifest_survives_storage_and_holds_no_text() -> None:
    manifest = snapshot("acme", examples(60))
    stored = manifest.as_json()
    assert Manifest.from_json(stored) == manifest
    assert "merci" not in str(stored)
    assert "author" not in str(stored)


@pytest.mark.parametrize(("count", "held"), [(40, 20), (60, 30), (100, 30), (400, 80)])
def test_the_newest_fifth_is_held_out_at_least_thirty_at_most_half(count: int, held: int) -> None:
    manifest = snapshot("acme", examples(count))
    assert len(manifest.holdout) == held
    assert len(manifest.train) == count - held
    newest = {row.review for row in manifest.holdout}
    assert newest == {each.review for each in examples(count)[-held:]}


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.integers(0, 500)), min_size=MIN_EXAMPLES, max_size=150))
def test_no_copy_crosses_and_nothing_is_lost(drawn: list[tuple[int, bool, int]]) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [
        example(
            at,
            remove,
            text=f"Phrase {'abcdefgh'[kind % 8]}{kind}{'!' * (at % 3)}",
            review_time=start + timedelta(minutes=minute),
        )
        for at, (kind, remove, minute) in enumerate(drawn)
    ]
    if missing(rows):
        with pytest.raises(FailedPrecondition):
            snapshot("acme", rows)
        return
    manifest = snapshot("acme", rows)
    train, holdout = texts(manifest, rows)
    assert not train & holdout
    assert len(manifest.train) + len(manifest.holdout) == len(rows)
    assert manifest.train


def test_held_out_groups_begin_after_those_of_their_class_that_teach() -> None:
    rows = examples(100)
    # The newest row copies the oldest: it may not judge what its copy taught.
    rows[-1] = example(99, rows[-1].remove, text=rows[1].text)
    manifest = snapshot("acme", rows)
    assert rows[-1].review in {row.review for row in manifest.train}


@pytest.mark.parametrize(
    ("one", "other"),
    [("GG EZ !!!", "gg ez"), ("Déçue", "decue"), ("nuuuuul", "nul"), ("a b", "ab"), ("ＡＢ", "ab")],
)
def test_near_identical_texts_fold_to_one(one: str, other: str) -> None:
    assert fold(one) == fold(other)


def test_emojis_do_not_all_fold_to_nothing() -> None:
    assert fold("😍") != fold("🤮")


@pytest.mark.parametrize(
    ("rows", "lacking"),
    [(examples(39), 1), ([example(n, False) for n in range(60)], 5), ([], 40), (examples(40), 0)],
)
def test_too_little_says_how_much_is_missing(rows: list[Example], lacking: int) -> None:
    assert missing(rows) == lacking
    if lacking:
        with pytest.raises(FailedPrecondition) as refusal:
            snapshot("acme", rows)
        assert refusal.value.reason is Reason.TOO_FEW_CORRECTIONS
        assert refusal.value.metadata["missing"] == str(lacking)


def test_weights_are_bounded() -> None:
    assert weight_of(1.0) == 1.0
    assert weight_of(0.5) == 2.0
    assert weight_of(0.001) == MAX_WEIGHT
    assert weight_of(0.0) == 1.0


def test_hashes_do_not_stumble_over_lone_surrogates() -> None:
    assert text_sha256("\ud800") == text_sha256("?")
