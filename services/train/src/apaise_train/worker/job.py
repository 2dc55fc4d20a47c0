"""One training job from rows to a finished adapter; a generator, so that whoever runs it hears how far it is."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from apaise_kit.core.errors import ApaiseError, FailedPrecondition, Reason
from apaise_train.domain import gate
from apaise_train.domain.examples import fold
from apaise_train.domain.jobs import Broken, HouseSource, Job, Judged, Outcome, Progress, Row, Update
from apaise_train.worker import learning, plots
from apaise_train.worker.curve import head_curve, of_folds
from apaise_train.worker.learning import Fitted, Lesson, Recipe, Targets
from apaise_train.worker.net import BrandNet, Cached
from apaise_train.worker.suite import Suite
from mlops.base.adapter import (
    FILES,
    PARITY_TEXTS,
    PARITY_TOLERANCE,
    Manifest,
    Parity,
    Threshold,
    digest_folder,
    read_adapter,
    write_adapter,
)
from mlops.base.encoder import load_encoder
from mlops.house import House, HouseWeightsError, build_house, load_heads

REMOVE: Final = "remove"
# Where the model honestly does not know: this far below the threshold, a person should look.
UNSURE_BAND: Final = 0.05
NICENESS: Final = 15


def run(job: Job, recipe: Recipe | None = None) -> Iterator[Update]:
    """Train and judge; the last item is an `Outcome`, or `Broken` with the reason.

    Exceptions that are not refusals pass: the task fails, and its runner says so.
    """
    try:
        yield from _run(job, recipe or Recipe())
    except ApaiseError as error:
        yield Broken(error.reason.value)
    except HouseWeightsError:
        yield Broken(Reason.ADAPTER_WRONG_ENCODER.value)


def lower_priority() -> None:
    """Let serving go first on a shared machine."""
    os.nice(NICENESS)


def _run(job: Job, recipe: Recipe) -> Iterator[Update]:
    started = time.perf_counter()
    torch.set_num_threads(job.threads)
    yield Progress(False, 0.0)
    house = house_of(job.house)
    encoder = load_encoder(house.path)
    remove = house.labels.index(REMOVE)
    net = BrandNet(encoder, *load_heads(house.heads))
    generator = torch.Generator().manual_seed(job.seed)
    cached = net.cache([row.text for row in job.train])
    held = net.cache([row.text for row in job.holdout])
    suite = Suite.of(net, house) if job.safety else None
    yield Progress(False, 0.1)
    with net.shortened():
        features = net.reset(generator, cached)
        before = net.scores(cached)
        house_right = suite.house_right(net) if suite else ()
        house_held = net.scores(held)
        champion = _champion(job, net, held, house, remove)
        right = {gate.CHAMPION: suite.right(net, champion.threshold)} if suite and champion else {}
        targets = make_targets(job.train, house.labels, before)
        keys, classes = [fold(row.text) for row in job.train], [row.remove for row in job.train]
        folds = learning.make_folds(keys, classes, recipe.folds, generator)
        lesson = Lesson(net, cached, targets, before, remove, recipe, generator)
        grown = head_curve(lesson, features, folds, job.seed)
        fitted = yield from _learnt(lesson, folds)
        net.hold_back(fitted.strength)
        slope, offset = _calibrated(lesson, fitted)
        yield Progress(True, 0.0)
        after_held = net.scores(held)
        drift = _drift(after_held, house_held, remove)
    out_of_fold = _probabilities(fitted.out_of_fold * slope + offset)
    cut = round(learning.best_threshold(out_of_fold, classes), 3)
    candidate = _judged(after_held[:, remove], cut)
    if suite:
        with net.shortened():
            right |= {gate.HOUSE: house_right, gate.CANDIDATE: suite.right(net, cut), "goes": suite.goes}
    unseen = Judged(tuple(out_of_fold), cut)
    files, digest = _written(job, net, house, cut)
    yield Progress(True, 0.8)
    judged, truth = (candidate, [row.remove for row in job.holdout]) if job.holdout else (unseen, classes)
    yield Outcome(
        files=files,
        digest=digest,
        encoder=house.encoder_digest,
        candidate=candidate,
        house=_judged(house_held[:, remove], house.thresholds[REMOVE].decision),
        champion=champion,
        suite=right,
        out_of_fold=unseen,
        house_taught=_judged(before[:, remove], house.thresholds[REMOVE].decision),
        params={
            **_chosen(recipe, fitted),
            "seed": job.seed,
            "dtype": str(encoder.dtype).removeprefix("torch."),
            "house_revision": house.revision,
            "threshold_remove": cut,
            "calibration_slope": round(slope, 4),
            "calibration_offset": round(offset, 4),
        },
        curve=fitted.curve,
        learning_curve=grown,
        metrics={"seconds": round(time.perf_counter() - started, 2), "drift_other_labels": drift},
        plots={
            "epochs.png": plots.epochs(fitted.curve, fitted.epochs),
            "learning_curve.png": plots.learning_curve(grown, of_folds(fitted.out_of_fold, classes, folds)),
            "reliability.png": plots.reliability(out_of_fold, classes),
            "confusion.png": plots.confusion(judged, truth),
        },
    )


def _calibrated(lesson: Lesson, fitted: Fitted) -> tuple[float, float]:
    """Fold Platt scaling, fitted out of fold, into the head of `remove`; its slope and offset."""
    net, remove, targets = lesson.net, lesson.remove, lesson.targets
    slope, offset = learning.calibration(fitted.out_of_fold, targets.wanted[:, remove], targets.weights)
    with torch.no_grad():
        net.weight[remove] *= slope
        net.bias[remove] = net.bias[remove] * slope + offset
    return slope, offset


def _chosen(recipe: Recipe, fitted: Fitted) -> dict[str, str | int | float]:
    """The recipe, and what the folds made of it."""
    given = {f"recipe_{key}": value for key, value in asdict(recipe).items()}
    return {**given, "epochs_kept": fitted.epochs, "strength": fitted.strength}


def _judged(logits: Tensor, threshold: float) -> Judged:
    """Logits [n] of `remove` as a judge gives them."""
    return Judged(tuple(_probabilities(logits)), threshold)


def _learnt(lesson: Lesson, folds: Sequence[Sequence[int]]) -> Generator[Update, None, Fitted]:
    """Cross-fit, then fit on everything; the share of each in the progress is the share of its work."""
    share = 0.9 * len(folds) / (len(folds) + 1)
    part = learning.cross_fit(lesson, folds)
    while True:
        try:
            yield Progress(False, 0.1 + share * next(part))
        except StopIteration as end:
            fitted: Fitted = end.value
            break
    for done, _ in enumerate(learning.fit(lesson, range(len(lesson.cached)), fitted.epochs), 1):
        yield Progress(False, 0.1 + share + (0.9 - share) * done / fitted.epochs)
    return fitted


def make_targets(rows: Sequence[Row], labels: Sequence[str], house: Tensor) -> Targets:
    """What people stated where they stated it, the house's probabilities (of its logits [n, L]) everywhere else."""
    wanted, stated = house.sigmoid(), torch.zeros_like(house)
    for at, row in enumerate(rows):
        for label, applies in {**row.labels, REMOVE: row.remove}.items():
            if label in labels:
                wanted[at, labels.index(label)] = float(applies)
                stated[at, labels.index(label)] = 1.0
    return Targets(wanted, stated, torch.tensor([row.weight for row in rows]))


def read_texts(source: HouseSource, adapter: Path | None, texts: Sequence[str]) -> tuple[Judged, Judged | None]:
    """P(remove) of texts by the house and, when there is one, by a written adapter, each with its threshold.

    Raises:
        AdapterRefused: the adapter's folder is not one.
    """
    house = house_of(source)
    remove = house.labels.index(REMOVE)
    net = BrandNet(load_encoder(house.path), *load_heads(house.heads))
    cached = net.cache(texts)
    files = read_adapter(adapter) if adapter else None
    with net.shortened():
        net.reset(torch.Generator(), cached)
        by_house = _judged(net.scores(cached)[:, remove], house.thresholds[REMOVE].decision)
        if files is None:
            return by_house, None
        net.load(files, house.labels)
        scores = tuple(_probabilities(net.scores(cached)[:, remove]))
        return by_house, Judged(scores, files.manifest.thresholds[REMOVE].decision)


def house_of(source: HouseSource) -> House:
    """The house model a job starts from.

    Raises:
        FailedPrecondition: (ADAPTER_WRONG_SHAPE) it has no head for `remove`.
    """
    cache, weights = (Path(path) if path else None for path in (source.cache, source.weights))
    house = build_house(cache, source.model, weights=weights)
    if REMOVE not in house.labels:
        raise FailedPrecondition("The house model has no `remove` head.", reason=Reason.ADAPTER_WRONG_SHAPE)
    return house


def _champion(job: Job, net: BrandNet, held: Cached, house: House, remove: int) -> Judged | None:
    """The champion on the held-out rows, or None: there is none, or it is of another encoder or other labels."""
    if job.champion is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        for name, content in job.champion.items():
            (Path(folder) / Path(name).name).write_bytes(content)
        adapter = read_adapter(Path(folder))
    if adapter.manifest.encoder_digest != house.encoder_digest or set(adapter.manifest.labels) != set(house.labels):
        return None
    net.load(adapter, house.labels)
    logits = net.scores(held)[:, remove]
    return _judged(logits, adapter.manifest.thresholds[REMOVE].decision)


def _written(job: Job, net: BrandNet, house: House, cut: float) -> tuple[Mapping[str, bytes], str]:
    """The adapter's files and their digest. Thresholds: `remove` is the brand's, the others stay the house's."""
    thresholds = {label: Threshold.model_validate(given) for label, given in house.thresholds.items()}
    thresholds[REMOVE] = Threshold(
        decision=cut, yes=min(1.0, round(cut + UNSURE_BAND, 3)), no=max(0.0, round(cut - UNSURE_BAND, 3))
    )
    manifest = Manifest(
        revision=job.revision,
        brand=job.brand,
        encoder_digest=house.encoder_digest,
        labels=house.labels,
        thresholds=thresholds,
        thresholds_revision=job.revision,
        parity=Parity(texts=PARITY_TEXTS, scores=_rows(net.parity(PARITY_TEXTS)), tolerance=PARITY_TOLERANCE),
        created=job.created,
    )
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / job.revision
        write_adapter(folder, net.peft, *net.folded_heads(), manifest)
        return {name: (folder / name).read_bytes() for name in FILES}, digest_folder(folder)


def _rows(scores: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in scores)


def _probabilities(logits: Tensor) -> list[float]:
    return [round(float(value), 3) for value in logits.sigmoid()]


def _drift(after: Tensor, before: Tensor, remove: int) -> float:
    """Mean change of the other labels' probabilities on held-out rows."""
    change = (after.sigmoid() - before.sigmoid()).abs()
    change[:, remove] = 0.0
    return round(float(change.sum() / max(1, change.numel() - len(change))), 5)
