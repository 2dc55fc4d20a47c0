"""`make quality`: docs/quality.md and its plots, from the frozen tests, beside rivals of the same run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from mlops.eval.figures import expected_calibration_error
from mlops.house.baseline import Baseline
from mlops.house.build import build_house, read_record, weights_dir
from mlops.house.calibrate import MISSED, Floats, best_threshold
from mlops.house.card import write_card
from mlops.house.lexicon import load_lexicon
from mlops.house.pipeline import Prepared, prepare
from mlops.house.quality import (
    Answers,
    Figure,
    Suite,
    auc,
    by_lexicon,
    by_model,
    interval,
    label_figure,
    label_value,
    macro_f1,
    measured_labels,
    pairs_right,
    read_suite,
    remembered,
)
from mlops.house.reader import Reader, house_reader
from mlops.house.tracking import say
from mlops.house.training import TrainingPlan
from mlops.house.tricks import TRICKS, tricked

FIRST: Final = Path(__file__).parent / "history" / "house-1.npz"
FIGURES: Final = "figures.json"
_LANGUAGES: Final = ("fr", "en", "es", "de", "it", "pt", "ar")
_HIDDEN: Final = ("toxic", "hate", "insult", "threat", "remove")
_RELIABLE: Final = 200
_SHOWN_ERRORS: Final = 12


@dataclass(frozen=True)
class Target:
    """What we aim at, what was reached, and whether that is enough."""

    what: str
    aim: str
    reached: str
    met: bool


def write_quality(data: Path, corpus: Path, held_out: Sequence[Path], docs: Path) -> Path:
    """Measure everything and write the page; returns its path."""
    test, safety = held_out
    reader = house_reader(build_house())
    prepared = prepare(data, corpus, TrainingPlan())
    say("training TF-IDF on the rows the house model saw")
    rivals = Rivals(prepared, data)
    suites = {"test": read_suite(test, reader.labels), "safety": read_suite(safety, reader.labels)}
    say("reading the frozen tests")
    answers = {name: rivals.all(reader, suite) for name, suite in suites.items()}
    kept = _tricks(reader, suites["test"], answers["test"][0])
    targets = _targets(suites["test"], answers["test"][0], kept)
    docs.mkdir(exist_ok=True)
    plots = docs / "quality"
    plots.mkdir(exist_ok=True)
    _reliability(suites["test"], answers["test"][0], plots / "reliability.svg")
    page = docs / "quality.md"
    page.write_text(_page(reader, suites, answers, targets, kept, rivals, prepared), encoding="utf-8")
    (weights_dir() / FIGURES).write_text(json.dumps(_kept(suites["test"], answers["test"], targets), indent=1) + "\n")
    (weights_dir() / "CARD.md").write_text(write_card(weights_dir()), encoding="utf-8")
    return page


class Rivals:
    """What the house model is compared with: its first version, TF-IDF, a word list."""

    def __init__(self, prepared: Prepared, data: Path) -> None:
        self.baseline = Baseline.fit(prepared.stream)
        self.lexicon = load_lexicon(data)
        scores = self.baseline.scores(prepared.known.texts)
        self._cuts = np.array([_cut(scores[:, at], prepared, at) for at in range(scores.shape[1])])
        self._labels = prepared.labels

    def all(self, reader: Reader, suite: Suite) -> list[Answers]:
        """The house model first, then the others that can answer."""
        first = remembered(FIRST, suite, "first model") if FIRST.is_file() else None
        return [
            by_model(reader, suite),
            *([first] if first else []),
            self.tfidf(suite),
            by_lexicon(self.lexicon, suite),
        ]

    def tfidf(self, suite: Suite) -> Answers:
        """TF-IDF and logistic regression, with thresholds placed as the house model's."""
        columns = [self._labels.index(label) for label in suite.labels]
        scores = self.baseline.scores(suite.texts)[:, columns]
        return Answers("TF-IDF", scores, scores >= self._cuts[columns])


def _cut(scores: Floats, prepared: Prepared, at: int) -> float:
    return best_threshold(scores, prepared.known.targets[:, at].astype(float), prepared.weights[:, at].astype(float))


# ---- targets


def _targets(suite: Suite, house: Answers, kept: Sequence[tuple[str, float]]) -> list[Target]:
    labels = measured_labels(suite)
    mean = float(np.mean([label_value(suite, house, label, "macro_f1") for label in labels]))
    crude = _crude(suite)
    removed = float(house.said[crude, suite.labels.index("remove")].mean())
    right, whole = pairs_right(suite, house, main=True)
    gap = _mean_f1(suite, house, "fr") - _mean_f1(suite, house, "en")
    errors = _calibration(suite, house)
    at_least, at_most = "≥ {:.0%}", "≤ {:.0%}"
    return [
        _target(f"macro-F1 over {len(labels)} labels with 50 positives", mean, 0.80, at_least),
        _target("recall of complaints", _recall(suite, house, "complaint"), 0.90, at_least),
        _target(f"crude complaints read as `remove` (of {len(crude)})", removed, 0.02, at_most),
        _target(
            f"contrast pairs, both members right on what they are about (of {whole})", right / whole, 0.70, at_least
        ),
        _target("recall kept under tricks training never used", float(np.mean([v for _, v in kept])), 0.90, at_least),
        _target("macro-F1 on the bilingual messages, French less English", gap, -0.05, at_least),
        _target(
            f"worst calibration error of {len(errors)} labels with 200",
            max(errors.values(), default=0.0),
            0.05,
            at_most,
        ),
    ]


def _target(what: str, reached: float, aim: float, side: str) -> Target:
    met = reached >= aim if side.startswith("≥") else reached <= aim
    return Target(what, side.format(aim), f"{reached:.1%}", met)


def _recall(suite: Suite, answers: Answers, label: str) -> float:
    column = suite.labels.index(label)
    return float(answers.said[suite.truth[:, column] > 0.5, column].mean())


def _crude(suite: Suite) -> Any:
    """Complaints with crude words that no moderator would remove."""
    known = {label: suite.truth[:, suite.labels.index(label)] for label in ("complaint", "profanity", "remove")}
    return np.flatnonzero((known["complaint"] > 0.5) & (known["profanity"] > 0.5) & (known["remove"] < 0.5))


def _tricks(reader: Reader, suite: Suite, house: Answers) -> list[tuple[str, float]]:
    """For each trick, the share of the clean recall it leaves, over the labels people hide words for."""
    columns = [suite.labels.index(label) for label in _HIDDEN]
    found = suite.truth[:, columns] > 0.5
    rows = np.flatnonzero(found.any(1))
    cuts = np.array([reader.thresholds[label].decision for label in _HIDDEN])
    clean = (house.said[rows][:, columns] & found[rows]).sum()
    kept = []
    for name in TRICKS:
        scores = reader.probabilities([tricked(suite.texts[row], name) for row in rows])[:, columns]
        kept.append((name, float(((scores >= cuts) & found[rows]).sum() / clean)))
    return kept


def _mean_f1(suite: Suite, house: Answers, lang: str) -> float:
    """Mean macro-F1 on the messages written in both languages, over labels with 10 positives among them."""
    twins = np.array([bool(row.get("twin")) and row["lang"] == lang for row in suite.rows])
    values = []
    for column in range(len(suite.labels)):
        here = twins & ~np.isnan(suite.truth[:, column])
        if suite.truth[here, column].sum() >= 10:
            values.append(macro_f1(house.said[here, column], suite.truth[here, column]))
    return float(np.mean(values))


def _calibration(suite: Suite, house: Answers) -> dict[str, float]:
    """Expected calibration error of each label with enough positives."""
    errors = {}
    for column, label in enumerate(suite.labels):
        here = ~np.isnan(suite.truth[:, column])
        if suite.truth[here, column].sum() >= _RELIABLE:
            errors[label] = expected_calibration_error(house.scores[here, column], suite.truth[here, column] > 0.5)
    return errors


# ---- the page


def _page(
    reader: Reader,
    suites: Mapping[str, Suite],
    answers: Mapping[str, Sequence[Answers]],
    targets: Sequence[Target],
    kept: Sequence[tuple[str, float]],
    rivals: Rivals,
    prepared: Prepared,
) -> str:
    test, house = suites["test"], answers["test"][0]
    record = read_record(weights_dir())
    names = [one.name for one in answers["test"]]
    parts = [
        _INTRO.format(revision=record["revision"], messages=len(test.rows), safety=len(suites["safety"].rows)),
        "## Targets\n\n"
        + _table(["", "aim", "reached", ""], [[t.what, t.aim, t.reached, "✓" if t.met else "missed"] for t in targets]),
        "## Every label\n\nMacro-F1 of yes and no at the thresholds that ship, and AUC; 95 % intervals.\n\n"
        + _labels_table(test, answers["test"], "macro_f1")
        + "\n\nAUC:\n\n"
        + _labels_table(test, answers["test"], "auc"),
        "## Every language\n\nMean over the labels with 10 positives in that language.\n\n"
        + _languages(test, answers["test"]),
        f"## Contrast pairs\n\nBoth members right, by the label that flips: {', '.join(names)}.\n\n"
        + _pairs(test, answers["test"]),
        "## Tricks\n\nShare of the clean recall of "
        + ", ".join(f"`{label}`" for label in _HIDDEN)
        + " that is left.\n\n"
        + _table(["trick", "kept"], [[name, f"{share:.0%}"] for name, share in kept]),
        "## How far to trust a probability\n\n![Reliability](quality/reliability.svg)\n\n"
        + _table(["label", "calibration error"], [[k, f"{v:.3f}"] for k, v in _calibration(test, house).items()]),
        _BAND.format(missed=MISSED) + _bands(reader, test, house, record),
        "## The safety suite\n\n" + _safety(suites["safety"], answers["safety"]),
        "## Held-out rows of the licensed sets\n\nAUC on a tenth of each set that no model was trained on.\n\n"
        + _sources(reader, rivals, prepared),
        "## Where it is wrong\n\nThe surest mistakes on the frozen test, crude words masked.\n\n"
        + _mistakes(test, house, rivals),
    ]
    return "\n\n".join(parts) + "\n"


_INTRO: Final = """# What the house model is worth

House model `{revision}` on {messages} messages written for this test and on {safety} of the safety suite. Nobody
trained, tuned or placed a threshold on them. They were written and labelled by a language model under
[the guideline](../mlops/house/GUIDELINE.md); no second annotator has checked them. This page is written by
`APAISE_DATA=folder make quality`.

*first model*: the house model of the first release. *TF-IDF*: words 1–2 and characters 3–5 with logistic regression,
trained in this run on exactly the rows the house model saw, thresholds placed the same way. *word list*: a message
with a crude word of the licensed lists is `toxic`, `insult`, `profanity`, `hate` and `remove`."""

_BAND: Final = """## "I don't know"

Apart from yes and no, each label has a band in which a person should look. Its lower end is placed so that at most
{missed:.0%} of the messages that have the label are expected below it, its upper end so that at most {missed:.0%} of
those that have it not are above (split conformal, on our validation messages). *load*: how many messages fall in the
band. *passed*, *alarmed*: what happened on the frozen test.

"""


def _labels_table(suite: Suite, answers: Sequence[Answers], kind: str) -> str:
    rows = []
    for label in measured_labels(suite):
        positives = int(np.nansum(suite.truth[:, suite.labels.index(label)]))
        rows.append([label, str(positives), *(str(label_figure(suite, one, label, kind)) for one in answers)])
    means = [_mean([label_value(suite, one, row[0], kind) for row in rows]) for one in answers]
    return _table(["label", "positives", *(one.name for one in answers)], [*rows, ["**mean**", "", *means]])


def _mean(values: Iterable[float]) -> str:
    return f"**{np.nanmean(list(values)):.3f}**"


def _languages(suite: Suite, answers: Sequence[Answers]) -> str:
    rows = []
    for lang in _LANGUAGES:
        here = suite.of(lang)
        labels = _measured_in(suite, here)
        if labels:
            figures = [_language_figure(suite, one, labels, here) for one in answers]
            rows.append([lang, str(int(here.sum())), str(len(labels)), *map(str, figures)])
    return _table(["language", "messages", "labels", *(one.name for one in answers)], rows)


def _measured_in(suite: Suite, here: Any) -> list[str]:
    return [label for at, label in enumerate(suite.labels) if np.nansum(suite.truth[here, at]) >= 10]


def _language_figure(suite: Suite, answers: Answers, labels: Sequence[str], here: Any) -> Figure:
    rows = np.flatnonzero(here)
    columns = [suite.labels.index(label) for label in labels]

    def value(part: Any) -> float:
        chosen = rows[part]
        found = []
        for column in columns:
            known = chosen[~np.isnan(suite.truth[chosen, column])]
            found.append(macro_f1(answers.said[known, column], suite.truth[known, column]))
        return float(np.nanmean(found)) if not np.all(np.isnan(found)) else float("nan")

    return interval(value, np.unique(suite.families[rows], return_inverse=True)[1])


def _pairs(suite: Suite, answers: Sequence[Answers]) -> str:
    rows = []
    for label in suite.labels:
        counts = [pairs_right(suite, one, label) for one in answers]
        if counts[0][1] >= 10:
            rows.append([label, str(counts[0][1]), *(f"{right / whole:.0%}" for right, whole in counts)])
    for name, counted in (("the pair's main label", True), ("every label that flips, at once", False)):
        every = [pairs_right(suite, one, main=counted) for one in answers]
        rows.append([name, str(every[0][1]), *(f"{right / whole:.0%}" for right, whole in every)])
    return _table(["label", "pairs", *(one.name for one in answers)], rows)


def _bands(reader: Reader, suite: Suite, house: Answers, record: Mapping[str, Any]) -> str:
    rows = []
    for label in measured_labels(suite):
        column = suite.labels.index(label)
        known = ~np.isnan(suite.truth[:, column])
        yes = suite.truth[:, column] > 0.5
        band, scores = reader.thresholds[label], house.scores[:, column]
        inside = float(((scores > band.no) & (scores < band.yes))[known].mean())
        passed, alarmed = float((scores[yes] < band.no).mean()), float((scores[known & ~yes] > band.yes).mean())
        shares = [f"{record['loads'][label]:.0%}", f"{inside:.0%}", f"{passed:.1%}", f"{alarmed:.1%}"]
        rows.append([label, f"{band.no:.3f} – {band.yes:.3f}", *shares])
    return _table(["label", "band", "load promised", "load on the test", "passed", "alarmed"], rows)


def _safety(suite: Suite, answers: Sequence[Answers]) -> str:
    rows = []
    for label in suite.labels:
        for wanted in (True, False):
            at = np.array(
                [n for n, row in enumerate(suite.rows) if row.get("must", {}).get(label) is wanted], dtype=int
            )
            if len(at) >= 10:
                column = suite.labels.index(label)
                rights = [float((one.said[at, column] == wanted).mean()) for one in answers]
                rows.append(
                    [f"`{label}` must {'' if wanted else 'not '}hold", str(len(at)), *(f"{r:.0%}" for r in rights)]
                )
    return _table(["", "messages", *(one.name for one in answers)], rows)


def _sources(reader: Reader, rivals: Rivals, prepared: Prepared) -> str:
    texts = prepared.known.texts
    ours, theirs = reader.probabilities(texts), rivals.baseline.scores(texts)
    rows = []
    sources = np.array([row.source for row in prepared.held])
    for source in sorted(set(sources) - {"corpus", "grammar"}):
        for at, label in enumerate(prepared.labels):
            here = (sources == source) & (prepared.known.weights[:, at] > 0)
            truth = prepared.known.targets[here, at].astype(float)
            if min(truth.sum(), (truth < 0.5).sum()) >= 20 and label in reader.labels:
                mine = auc(ours[here, reader.labels.index(label)], truth)
                rows.append([source, label, str(int(here.sum())), f"{mine:.2f}", f"{auc(theirs[here, at], truth):.2f}"])
    return _table(["set", "label", "rows", "house", "TF-IDF"], rows)


def _mistakes(suite: Suite, house: Answers, rivals: Rivals) -> str:
    """The surest mistakes, one per message, with a mask over crude words."""
    wrong: list[tuple[float, str, int]] = []
    for label in ("hate", "insult", "threat", "complaint", "veiled", "sarcasm", "praise", "remove"):
        column = suite.labels.index(label)
        truth, scores = suite.truth[:, column], house.scores[:, column]
        for at in np.flatnonzero((~np.isnan(truth)) & (house.said[:, column] != (truth > 0.5))).tolist():
            wrong.append((abs(float(truth[at] - scores[at])), label, at))
    shown: dict[int, list[str]] = {}
    taken: Counter[str] = Counter()
    for _, label, at in sorted(wrong, reverse=True):
        if at not in shown and taken[label] < 3 and len(shown) < _SHOWN_ERRORS:
            taken[label] += 1
            column = suite.labels.index(label)
            text = rivals.lexicon.masked(suite.texts[at], suite.rows[at]["lang"])
            is_so = "yes" if suite.truth[at, column] > 0.5 else "no"
            shown[at] = [text, label, is_so, f"{house.scores[at, column]:.2f}"]
    return _table(["message", "label", "is", "read as"], list(shown.values()))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _kept(test: Suite, answers: Sequence[Answers], targets: Sequence[Target]) -> dict[str, Any]:
    """The figures the card repeats."""
    house, labels = answers[0], measured_labels(test)
    return {
        "targets": [vars(target) for target in targets],
        "means": {
            one.name: {
                kind: round(float(np.nanmean([label_value(test, one, label, kind) for label in labels])), 3)
                for kind in ("macro_f1", "auc")
            }
            for one in answers
        },
        "languages": {
            lang: round(_language_figure(test, house, measured, here).value, 3)
            for lang in _LANGUAGES
            if (here := test.of(lang)).any() and (measured := _measured_in(test, here))
        },
        "labels": {
            label: {kind: round(label_value(test, house, label, kind), 3) for kind in ("macro_f1", "auc")}
            for label in measured_labels(test)
        },
    }


def _reliability(suite: Suite, house: Answers, path: Path) -> None:
    """What was said against what was true, for the main labels, by language group."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "apaise"
    from matplotlib import pyplot

    labels = [label for label in ("toxic", "hate", "complaint", "remove", "praise", "anger") if label in suite.labels]
    languages: dict[str, Callable[[str], bool]] = {
        "French": lambda lang: lang == "fr",
        "English": lambda lang: lang == "en",
        "others": lambda lang: lang not in ("fr", "en"),
    }
    figure, axes = pyplot.subplots(2, 3, figsize=(9, 6), sharex=True, sharey=True)
    for axis, label in zip(axes.flat, labels, strict=False):
        column = suite.labels.index(label)
        axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for name, belongs in languages.items():
            here = np.array([belongs(row["lang"]) for row in suite.rows]) & ~np.isnan(suite.truth[:, column])
            order = np.argsort(house.scores[here, column])
            parts = [part for part in np.array_split(order, 8) if len(part)]
            said = [house.scores[here, column][part].mean() for part in parts]
            true = [suite.truth[here, column][part].mean() for part in parts]
            axis.plot(said, true, marker="o", markersize=3, label=name)
        axis.set_title(label)
    axes.flat[0].legend(frameon=False)
    figure.supxlabel("probability said")
    figure.supylabel("share that is")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
