"""The training job over a random tiny house: what it computes, keeps, and writes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from apaise_train.domain.jobs import Broken, HouseSource, Job, Outcome, Progress, Row
from apaise_train.testing import LABELS, examples
from apaise_train.worker import suite
from apaise_train.worker.job import make_targets, run
from apaise_train.worker.learning import Recipe, _kept, best_threshold, calibration, loss_of, make_folds
from apaise_train.worker.net import BrandNet
from apaise_train.worker.upper import UpperLayers
from mlops.base.adapter import read_adapter
from mlops.base.encoder import Encoder, load_encoder
from mlops.house import House, build_house, load_heads

RECIPE = Recipe(epochs=4, steps=0, folds=2, lora_rate=5e-3, head_rate=2e-2)
TEXTS = ["merci beaucoup", "vous etes nuls, rendez l'argent", "x", "", "a " * 300]


def house_of(source: HouseSource) -> House:
    assert source.cache is not None
    assert source.weights is not None
    return build_house(Path(source.cache), source.model, weights=Path(source.weights))


@pytest.fixture
def encoder(source: HouseSource) -> Encoder:
    return load_encoder(house_of(source).path, dtype="float32")


def rows(count: int) -> tuple[Row, ...]:
    return tuple(Row(each.text, each.remove, {"praise": not each.remove}) for each in examples(count))


@pytest.fixture
def job(source: HouseSource) -> Job:
    teaching = rows(90)
    return Job("acme", "r1-test", 11, datetime(2026, 1, 1, tzinfo=UTC), teaching[:60], teaching[60:], house=source)


def finished(job: Job) -> Outcome:
    *progress, last = run(job, RECIPE)
    assert isinstance(last, Outcome), last
    assert all(isinstance(step, Progress) for step in progress)
    return last


def test_the_upper_layers_on_kept_states_are_the_full_model(encoder: Encoder) -> None:
    upper = UpperLayers(encoder)
    ids = encoder.windows(TEXTS).ids
    expected = encoder.pooled(ids)
    hidden = upper.capture(ids)
    assert [len(each) for each in hidden] == [len(each) for each in ids]
    with upper.shortened(), torch.no_grad():
        torch.testing.assert_close(upper.pooled(hidden), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(encoder.pooled(ids), expected)


def test_an_untrained_net_reads_as_the_house(source: HouseSource, encoder: Encoder) -> None:
    house = house_of(source)
    weight, bias = load_heads(house.heads)
    ids = encoder.tokenize(TEXTS[:3])
    expected = encoder.pool(encoder.model(**ids).last_hidden_state, ids["attention_mask"]) @ weight.T + bias
    net = BrandNet(encoder, weight, bias)
    cached = net.cache(TEXTS[:3])
    with net.shortened():
        net.reset(torch.Generator().manual_seed(1), cached)
        torch.testing.assert_close(net.scores(cached), expected, atol=1e-4, rtol=1e-3)
    folded = net.folded_heads()
    torch.testing.assert_close(folded[0], weight, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(folded[1], bias, atol=1e-4, rtol=1e-3)


def test_what_the_heads_see_of_texts_are_z_scores_by_which_the_house_scores(
    source: HouseSource, encoder: Encoder
) -> None:
    weight, bias = load_heads(house_of(source).heads)
    net = BrandNet(encoder, weight, bias)
    texts = ["merci", "vous etes nuls", "gg"]
    cached = net.cache(texts)
    with net.shortened():
        seen = net.reset(torch.Generator().manual_seed(1), cached)
        assert seen.shape == (3, len(net.mean))
        torch.testing.assert_close(seen.mean(0), torch.zeros(len(net.mean)), atol=1e-4, rtol=0)
        torch.testing.assert_close(seen @ net.weight.T + net.bias, net.scores(cached), atol=1e-3, rtol=1e-3)
        assert net.reset(torch.Generator().manual_seed(1)).shape == (0, len(net.mean))


def test_held_back_is_between_the_house_and_what_was_learnt(source: HouseSource, encoder: Encoder) -> None:
    net = BrandNet(encoder, *load_heads(house_of(source).heads))
    cached = net.cache(TEXTS)
    with net.shortened():
        net.reset(torch.Generator().manual_seed(1), cached)
        house = net.scores(cached)
        for parameter in (*net.groups()["lora"], *net.groups()["heads"]):
            torch.nn.init.normal_(parameter, std=0.05, generator=torch.Generator().manual_seed(2))
        learnt = net.scores(cached)
        net.hold_back(1.0)
        torch.testing.assert_close(net.scores(cached), learnt)
        net.hold_back(0.5)
        halfway = net.scores(cached)
        assert (halfway - house).norm() < (learnt - house).norm()
        net.hold_back(0.0)
        torch.testing.assert_close(net.scores(cached), house, atol=1e-4, rtol=1e-3)


def test_a_small_brand_makes_as_many_steps_as_a_large_one() -> None:
    recipe = Recipe(epochs=5, steps=75, batch=16)
    assert [recipe.passes(rows) for rows in (50, 100, 300, 2000)] == [24, 12, 5, 5]


@pytest.mark.parametrize(
    ("aucs", "kept"),
    [
        ([0.6, 0.7, 0.8, 0.79], 2),  # all epochs
        ([0.6, 0.805, 0.8, 0.79], 2),  # an earlier epoch is not clearly better
        ([0.6, 0.82, 0.8, 0.79], 1),
        ([0.6, 0.7, 0.8, 0.85], 3),  # held back
    ],
)
def test_all_epochs_are_kept_unless_something_is_clearly_better(aucs: list[float], kept: int) -> None:
    assert _kept(aucs, 0.01) == kept


def test_a_job_learns_and_says_how_far_it_is(job: Job) -> None:
    steps = list(run(job, RECIPE))
    fractions = [step.fraction for step in steps if isinstance(step, Progress) and not step.evaluating]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    outcome = steps[-1]
    assert isinstance(outcome, Outcome)
    truth = [row.remove for row in job.holdout]
    from apaise_train.domain.gate import auc

    learnt, before = auc(truth, outcome.candidate.scores), auc(truth, outcome.house.scores)
    assert learnt is not None
    assert before is not None
    assert learnt > 0.95
    assert [point.corrections for point in outcome.learning_curve] == [0, 8, 16, 22, 30]
    assert outcome.learning_curve[-1].auc > outcome.learning_curve[0].auc
    assert all(plot.startswith(b"\x89PNG") for plot in outcome.plots.values())


def test_the_same_job_is_the_same_run(job: Job) -> None:
    one, other = finished(job), finished(job)
    assert one.digest == other.digest
    assert one.files == other.files
    assert one.candidate == other.candidate
    assert finished(replace(job, seed=12)).digest != one.digest


def test_the_files_load_in_peft_and_give_the_parity_scores(job: Job, source: HouseSource, tmp_path: Path) -> None:
    from peft import PeftModel

    outcome = finished(job)
    folder = tmp_path / "adapter"
    folder.mkdir()
    for name, content in outcome.files.items():
        (folder / name).write_bytes(content)
    adapter = read_adapter(folder)
    assert adapter.manifest.brand == "acme"
    assert adapter.manifest.encoder_digest == house_of(source).encoder_digest
    fresh = load_encoder(house_of(source).path, dtype="float32")
    model = PeftModel.from_pretrained(fresh.model, str(folder)).eval()
    texts = list(adapter.manifest.parity.texts)
    served = replace(fresh, model=model)
    with torch.no_grad():
        # The tiny tokenizer cuts long texts: compare those of one window.
        short = [at for at, cut in enumerate(fresh.windows(texts).truncated) if not cut]
        ids = [fresh.windows([texts[at]]).ids[0] for at in short]
        scores = (served.pooled(ids) @ adapter.weight.T + adapter.bias).sigmoid()
    expected = torch.tensor([adapter.manifest.parity.scores[at] for at in short])
    assert short
    torch.testing.assert_close(scores, expected, atol=adapter.manifest.parity.tolerance, rtol=0)
    # Not by accident: the adapter does something.
    bare = load_encoder(house_of(source).path, dtype="float32").pooled(ids)
    assert not torch.allclose(bare, served.pooled(ids), atol=1e-3)


def test_labels_nobody_spoke_of_stay_as_the_house_reads_them(job: Job) -> None:
    held = finished(job).metrics["drift_other_labels"]
    silent = replace(job, train=tuple(replace(row, labels={}) for row in job.train))
    kept = finished(silent).metrics["drift_other_labels"]
    assert kept < 0.05
    assert kept < held  # here `praise` was stated, and moved


def test_the_champion_is_judged_on_the_same_rows(job: Job, source: HouseSource, tmp_path: Path) -> None:
    first = finished(job)
    again = finished(replace(job, revision="r2-test", champion=first.files))
    assert again.champion is not None
    assert again.champion.threshold == first.candidate.threshold
    assert again.learning_curve == first.learning_curve, "it is of the house, whoever serves"
    assert max(abs(a - b) for a, b in zip(again.champion.scores, first.candidate.scores, strict=True)) < 0.02


def test_a_champion_of_another_encoder_is_not_compared(job: Job, tmp_path: Path) -> None:
    from apaise_train.testing import tiny_house

    foreign = finished(replace(job, house=tiny_house(tmp_path, seed=8)))
    assert finished(replace(job, champion=foreign.files)).champion is None


def test_a_corrupt_champion_breaks_the_run_with_its_reason(job: Job) -> None:
    files = finished(job).files
    (*_, last) = run(replace(job, champion={**files, "heads.safetensors": b"junk"}), RECIPE)
    assert last == Broken("ADAPTER_CORRUPT")


def test_house_weights_of_another_base_break_the_run(job: Job, tmp_path: Path) -> None:
    from apaise_train.testing import tiny_house

    other = tiny_house(tmp_path, seed=9)
    (*_, last) = run(replace(job, house=replace(job.house, weights=other.weights)), RECIPE)
    assert last == Broken("ADAPTER_WRONG_ENCODER")


def test_no_text_leaves_with_the_outcome(job: Job) -> None:
    canary = "zq canari xj"
    marked = replace(job, train=(replace(job.train[0], text=canary), *job.train[1:]))
    outcome = finished(marked)
    everything = b"".join([*outcome.files.values(), *outcome.plots.values(), repr(outcome.params).encode()])
    assert canary.encode() not in everything


def test_targets_are_what_people_said_then_what_the_house_says() -> None:
    house = torch.tensor([[2.0, 0.0, -2.0, 1.0]])
    targets = make_targets([Row("x", True, {"praise": False, "unheard_of": True}, 2.0)], LABELS, house)
    assert targets.stated.tolist() == [[0.0, 0.0, 1.0, 1.0]]
    assert targets.wanted[0, 2:].tolist() == [0.0, 1.0]
    torch.testing.assert_close(targets.wanted[0, :2], house[0, :2].sigmoid())
    assert targets.weights.tolist() == [2.0]


def test_the_loss_of_the_house_itself_is_only_what_people_contradict() -> None:
    house = torch.tensor([[2.0, 0.0, -2.0, 9.0]])
    agreeing = make_targets([Row("x", True)], LABELS, house)
    contrary = make_targets([Row("x", False)], LABELS, house)
    remove = LABELS.index("remove")
    assert float(loss_of(house, house, agreeing, [0], remove, 1.0)) < 0.01
    assert float(loss_of(house, house, contrary, [0], remove, 1.0)) > 5


def test_folds_keep_copies_together_and_both_classes_everywhere() -> None:
    keys = [f"text-{n % 20}" for n in range(60)]
    classes = [n % 20 < 6 for n in range(60)]
    folds = make_folds(keys, classes, 3, torch.Generator().manual_seed(1))
    assert sorted(row for fold in folds for row in fold) == list(range(60))
    for fold in folds:
        inside = {keys[row] for row in fold}
        assert not inside & {keys[row] for row in range(60) if row not in fold}
        assert {classes[row] for row in fold} == {True, False}


def test_calibration_tempers_overconfidence_and_keeps_the_ranking() -> None:
    generator = torch.Generator().manual_seed(1)
    truth = torch.rand(400, generator=generator) < 0.5
    logits = 8 * (truth.float() - 0.5) + 6 * torch.randn(400, generator=generator)
    slope, offset = calibration(logits, truth.float(), torch.ones(400))
    assert 0.05 < slope < 0.8
    assert abs(offset) < 1
    alike = calibration(torch.zeros(4), torch.tensor([0.0, 1.0, 0.0, 1.0]), torch.ones(4))
    assert alike[1] == pytest.approx(0, abs=1e-3)


def test_the_threshold_separates_and_does_not_hang_on_one_review() -> None:
    assert best_threshold([0.1, 0.2, 0.8, 0.9], [False, False, True, True]) == pytest.approx(0.5)
    assert best_threshold([0.5, 0.5], [True, False]) == 0.5
    assert best_threshold([0.1, 0.9], [True, True]) == 0.5


def test_candidate_house_and_champion_read_the_safety_suite_when_it_is_asked_for(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = finished(replace(job, safety=True))
    monkeypatch.setattr(suite, "_known", {})
    again = finished(replace(job, safety=True, revision="r2-test", champion=first.files))
    assert set(first.suite) == {"goes", "house", "candidate"}
    assert set(again.suite) == {"goes", "house", "candidate", "champion"}
    assert len({len(read) for read in again.suite.values()}) == 1
    assert 0 < sum(again.suite["goes"]) < len(again.suite["goes"])
    assert again.suite["house"] == first.suite["house"], "the house reads as it did before any lesson"
    assert again.suite["champion"] == first.suite["candidate"], "a champion reads as it did when it was judged"
    assert finished(job).suite == {}


def test_the_safety_suite_is_taken_through_the_lower_layers_once_for_many_brands(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = finished(replace(job, safety=True))
    monkeypatch.setattr(suite.Suite, "read", None)
    assert finished(replace(job, brand="globex", safety=True)).suite == first.suite
