"""Thresholds, settlements, the normaliser, names: the parts that need nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apaise_classify.domain.adapters import Progress, Report, Settlement, refusal, settlement
from apaise_classify.domain.assessment import assess
from apaise_classify.domain.reading import Edition, Fallback, Reading, Threshold, Verdict, score
from apaise_classify.settings import ClassifySettings
from apaise_kit.core.errors import Reason
from mlops.base.adapter import digest_folder
from mlops.base.normalize import normalize

A = Report("b", 3, Progress.ACTIVE)
F = Report("b", 3, Progress.FAILED, "ADAPTER_CORRUPT")
L = Report("b", 3, Progress.LOADING)
OLD = Report("b", 2, Progress.ACTIVE)


@pytest.mark.parametrize(
    ("probability", "expected"),
    [(0.7, Verdict.YES), (0.71, Verdict.YES), (0.699, Verdict.UNSURE), (0.501, Verdict.UNSURE), (0.5, Verdict.NO)],
)
def test_verdicts_at_the_thresholds(probability: float, expected: Verdict) -> None:
    assert score(probability, Threshold(decision=0.6, yes=0.7, no=0.5)).verdict is expected


def test_without_a_band_yes_wins() -> None:
    assert score(0.5, Threshold(decision=0.5, yes=0.5, no=0.5)).verdict is Verdict.YES


@pytest.mark.parametrize("threshold", [Threshold(0.6, 0.3, 0.2), Threshold(0.1, 0.5, 0.4)])
@pytest.mark.parametrize("probability", [0.0, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 1.0])
def test_a_band_beside_the_decision_makes_nobody_sure_of_the_contrary(threshold: Threshold, probability: float) -> None:
    read = score(probability, threshold)
    assert read.verdict is not (Verdict.NO if read.holds else Verdict.YES)


@pytest.mark.parametrize(("probability", "holds"), [(0.59, False), (0.6, True), (0.65, True)])
def test_whether_a_label_holds_does_not_depend_on_the_band(probability: float, holds: bool) -> None:
    read = score(probability, Threshold(decision=0.6, yes=0.7, no=0.5))
    assert (read.holds, read.verdict) == (holds, Verdict.UNSURE)


def test_an_assessment_reads_each_label_at_its_own_thresholds() -> None:
    edition = Edition("r1", ("toxic", "praise"), (Threshold(0.85, 0.9, 0.8), Threshold(0.15, 0.2, 0.1)), "t", "e", "n1")
    assessed = assess(Reading((0.5, 0.5), edition, False, Fallback.NONE), "")
    assert {label: score.verdict for label, score in assessed.labels.items()} == {
        "toxic": Verdict.NO,
        "praise": Verdict.YES,
    }
    assert assessed.language == "und"


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ({}, Settlement(Progress.LOADING)),
        ({"x": None}, Settlement(Progress.LOADING)),
        ({"x": OLD}, Settlement(Progress.LOADING)),
        ({"x": L}, Settlement(Progress.LOADING)),
        ({"x": A, "y": None}, Settlement(Progress.ACTIVE)),
        ({"x": A, "y": F}, Settlement(Progress.ACTIVE)),
        ({"x": F, "y": None}, Settlement(Progress.LOADING)),
        ({"x": F, "y": L}, Settlement(Progress.LOADING)),
        ({"x": F, "y": F}, Settlement(Progress.FAILED, "ADAPTER_CORRUPT")),
    ],
)
def test_settlement(reports: dict[str, Report | None], expected: Settlement) -> None:
    assert settlement(3, reports) == expected


@pytest.mark.parametrize("reason", ["ADAPTER_CORRUPT", "ADAPTER_WRONG_ENCODER", "ADAPTER_WRONG_SHAPE", "INTERNAL"])
def test_a_refusal_keeps_its_reason(reason: str) -> None:
    assert refusal(reason, {}).reason is Reason(reason)


@given(st.text())
def test_normalising_twice_changes_nothing_and_leaves_nothing_invisible(text: str) -> None:
    once = normalize(text)
    assert normalize(once) == once
    assert not set(once) & {"\u200b", "\u200d", "\u00ad", "\ufeff", "\x00", "\x07", "\n", "\t"}
    assert once == once.strip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i\u200bd\u2060iot", "idiot"),
        ("ｉｄｉｏｔ", "idiot"),
        ("a\n\n b\tc", "a b c"),
        ("\u0000\u0007", ""),
        ("crème brûlée 😍", "crème brûlée 😍"),
    ],
)
def test_normalising(text: str, expected: str) -> None:
    assert normalize(text) == expected


def test_a_digest_covers_names_and_bytes(artefacts: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(artefacts["r1"], tmp_path / "copy")
    assert digest_folder(folder) == digest_folder(artefacts["r1"])
    assert digest_folder(folder) != digest_folder(artefacts["r2"])
    heads, config = folder / "heads.safetensors", folder / "adapter_config.json"
    swap = heads.read_bytes(), config.read_bytes()
    heads.write_bytes(swap[1])
    config.write_bytes(swap[0])
    assert digest_folder(folder) != digest_folder(artefacts["r1"])


def test_an_artefact_says_nothing_of_the_machine_it_was_made_on(artefacts: dict[str, Path]) -> None:
    for path in artefacts["r1"].iterdir():
        assert str(Path.home()).encode() not in path.read_bytes()
        assert b"/tmp/" not in path.read_bytes()


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in ClassifySettings.model_fields.values())


def test_the_front_starts_without_torch() -> None:
    code = "import sys, apaise_classify.bootstrap; print('torch' in sys.modules, 'ray' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]
