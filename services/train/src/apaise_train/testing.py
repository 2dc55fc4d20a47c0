"""Fakes beside the ports, and a house small enough for tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from apaise_kit.core.errors import ApaiseError
from apaise_train.domain.examples import Example, Manifest
from apaise_train.domain.health import Arm, Health
from apaise_train.domain.jobs import CurvePoint, HouseSource, Job, Judged, Outcome, Progress, Update
from apaise_train.domain.ports import Followed, ReviewKind, Tracked
from apaise_train.domain.runs import Revision, Run
from apaise_train.domain.trust import Tally

LABELS: Final = ("toxic", "complaint", "praise", "remove")
HIDDEN: Final = 32


def example(number: int, remove: bool, text: str = "", brand: str = "acme", **changes: Any) -> Example:
    """An example that taught at minute `number`."""
    values: dict[str, Any] = {
        "review": f"review-{number:04}",
        "brand": brand,
        "message": f"message-{number:04}",
        "author_key": f"author-{number % 7}",
        "edit_revision": 1,
        "text": text or f"{'vous etes nuls' if remove else 'merci a vous'} {chr(97 + number % 26)}{number}",
        "remove": remove,
        "labels": {},
        "weight": 1.0,
        "review_time": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number),
        "published_time": None,
    }
    return Example(**{**values, **changes})


def examples(count: int, brand: str = "acme") -> list[Example]:
    """Half of each decision, in turn."""
    return [example(number, number % 2 == 0, brand=brand) for number in range(count)]


def outcome(job: Job, good: bool = True, **changes: Any) -> Outcome:
    """What a trainer gives: a candidate that ranks the held-out rows perfectly, or backwards."""
    right = tuple(0.9 if row.remove is good else 0.1 for row in job.holdout)
    house = tuple(0.5 + 0.001 * (number % 5) for number in range(len(job.holdout)))
    values: dict[str, Any] = {
        "files": {"apaise.json": job.revision.encode()},
        "digest": f"digest-of-{job.revision}",
        "encoder": "encoder-1",
        "candidate": Judged(right, 0.5),
        "house": Judged(house, 0.5),
        "champion": Judged(house, 0.5) if job.champion else None,
        "out_of_fold": Judged(tuple(0.9 if row.remove is good else 0.1 for row in job.train), 0.5),
        "house_taught": Judged((0.5,) * len(job.train), 0.5),
        "params": {"epochs_kept": 2},
        "curve": ({"train_loss": 0.7, "validation_auc": 0.6}, {"train_loss": 0.5, "validation_auc": 0.8}),
        "metrics": {"seconds": 0.1},
        "plots": {"learning_curve.png": b"png"},
        "learning_curve": (CurvePoint(0, 0.6), CurvePoint(10, 0.7), CurvePoint(20, 0.72), CurvePoint(40, 0.74)),
    }
    return Outcome(**{**values, **changes})


@dataclass
class FakeTrainer:
    """Answers as told: `failures` first, then `result`; `hold` keeps jobs under way until released."""

    result: Callable[[Job], Update] = outcome
    failures: list[ApaiseError] = field(default_factory=list)
    hold: asyncio.Event | None = None
    jobs: list[Job] = field(default_factory=list)
    stopped: int = 0

    async def train(self, job: Job) -> AsyncGenerator[Update, None]:
        self.jobs.append(job)
        finished = False
        try:
            yield Progress(False, 0.5)
            if self.failures:
                raise self.failures.pop(0)
            if self.hold is not None:
                await self.hold.wait()
            yield Progress(True, 0.5)
            finished = True
            yield self.result(job)
        finally:
            self.stopped += not finished


@dataclass
class FakeRegistry:
    """MLflow as a few dictionaries."""

    down: ApaiseError | None = None
    opened: dict[str, str] = field(default_factory=dict)
    versions: dict[str, list[str]] = field(default_factory=dict)
    champion: dict[str, str | None] = field(default_factory=dict)
    cards: list[str] = field(default_factory=list)

    def _check(self) -> None:
        if self.down is not None:
            raise self.down

    async def begin(self, run: Run) -> Tracked:
        self._check()
        if run.mlflow_run:
            self.opened[run.mlflow_run] = "FAILED"
        tracked = Tracked("1", f"{run.id}-{len(self.opened)}")
        self.opened[tracked.run] = "RUNNING"
        return tracked

    async def publish(self, run: Run, tracked: Tracked, outcome: Outcome, card: str, manifest: Manifest) -> str:
        self._check()
        self.cards.append(card)
        versions = self.versions.setdefault(run.brand, [])
        versions.append(tracked.run)
        return str(len(versions))

    async def finish(self, tracked: Tracked, status: str, tags: Mapping[str, str]) -> None:
        self._check()
        self.opened[tracked.run] = status

    async def set_champion(self, brand: str, version: str | None) -> None:
        self._check()
        self.champion[brand] = version


@dataclass
class FakeServing:
    """Classify as a dictionary."""

    down: ApaiseError | None = None
    refuses: dict[str, ApaiseError] = field(default_factory=dict)
    serving: dict[str, str | None] = field(default_factory=dict)
    calls: list[str | None] = field(default_factory=list)
    trials: dict[str, tuple[str, float] | None] = field(default_factory=dict)
    counted: str = ""
    arms: tuple[Arm, Arm] = (Arm(), Arm())

    async def trial(self, brand: str, revision: Revision | None, share: float, request_id: str) -> None:
        if self.down is not None:
            raise self.down
        if revision is not None and revision.id in self.refuses:
            raise self.refuses[revision.id]
        self.trials[brand] = (revision.id, share) if revision else None

    async def health(self, brand: str) -> Health | None:
        if self.down is not None:
            raise self.down
        trial = self.trials.get(brand)
        return Health(self.counted or trial[0], *self.arms) if trial else None

    async def serve(self, brand: str, revision: Revision | None, request_id: str) -> None:
        self.calls.append(revision.id if revision else None)
        if self.down is not None:
            raise self.down
        if revision is not None and revision.id in self.refuses:
            raise self.refuses[revision.id]
        self.serving[brand] = revision.id if revision else None


@dataclass
class FakePrecedents:
    """Classify's precedents as a dictionary of brand to review to text."""

    down: ApaiseError | None = None
    refuses: dict[str, ApaiseError] = field(default_factory=dict)
    reads_with: str = "encoder-1"
    speaking: dict[str, dict[str, str]] = field(default_factory=dict)
    calls: list[tuple[str, str, list[str]]] = field(default_factory=list)

    async def put(self, brand: str, examples: Sequence[Example]) -> str:
        self._check(*(each.review for each in examples))
        self.calls.append(("put", brand, [each.review for each in examples]))
        self.speaking.setdefault(brand, {}).update({each.review: each.text for each in examples})
        return self.reads_with

    async def take_back(self, brand: str, reviews: Sequence[str]) -> None:
        self._check()
        self.calls.append(("take_back", brand, list(reviews)))
        for review in reviews:
            self.speaking.get(brand, {}).pop(review, None)

    async def encoder(self) -> str:
        if self.down is not None:
            raise self.down
        return self.reads_with

    def _check(self, *reviews: str) -> None:
        for error in [self.down, *(self.refuses.get(review) for review in reviews)]:
            if error is not None:
                raise error


@dataclass
class FakeGoldens:
    """Tallies as a dictionary of brand to reviewer."""

    known: dict[str, dict[str, Tally]] = field(default_factory=dict)
    down: ApaiseError | None = None

    async def of(self, brand: str) -> dict[str, Tally]:
        if self.down is not None:
            raise self.down
        return self.known.get(brand, {})


@dataclass
class FakeReviews:
    """A stream that can be written to, broken and read again."""

    steps: list[Followed] = field(default_factory=list)
    down: ApaiseError | None = None
    started: list[str] = field(default_factory=list)

    def add(self, kept: Example) -> None:
        self.steps.append(Followed(str(len(self.steps) + 1), ReviewKind.EXAMPLE, kept))

    def undo(self, brand: str, review: str) -> None:
        self.steps.append(Followed(str(len(self.steps) + 1), ReviewKind.UNDO, undoes=(brand, review)))

    def blank(self, brand: str, message: str) -> None:
        self.steps.append(Followed(str(len(self.steps) + 1), gone=(brand, message)))

    async def follow(self, cursor: str) -> AsyncGenerator[Followed, None]:
        self.started.append(cursor)
        position = int(cursor or 0)
        while True:
            if self.down is not None:
                raise self.down
            for step in self.steps[position:]:
                position += 1
                yield step
            await asyncio.sleep(0.01)


def tiny_house(folder: Path, seed: int = 7, layers: int = 6) -> HouseSource:
    """Write a random BERT of a few thousand parameters and random house weights under `folder`."""
    import torch
    from safetensors.torch import save_file

    from mlops.base import adapted_modules, build_base
    from mlops.base.encoder import bare_model

    torch.manual_seed(seed)
    base, weights = folder / "base", folder / "weights"
    _write_base(base, layers)
    weights.mkdir()
    model = bare_model(base, torch.float32)
    name = adapted_modules(model)[0]
    inner = model.get_submodule(name)
    down, up = torch.randn(2, inner.in_features) * 0.1, torch.randn(inner.out_features, 2) * 0.1
    save_file({f"{name}.lora_A": down, f"{name}.lora_B": up}, weights / "lora.safetensors")
    heads = {"weight": torch.randn(len(LABELS), HIDDEN) * 0.3, "bias": torch.randn(len(LABELS)) * 0.3}
    save_file(heads, weights / "heads.safetensors")
    record = {
        "base_digest": build_base(model=str(base)).digest,
        "revision": f"tiny-{seed}",
        "labels": list(LABELS),
        "thresholds": {label: {"decision": 0.5, "yes": 0.6, "no": 0.4} for label in LABELS},
        "thresholds_revision": f"tiny-thresholds-{seed}",
        "lora": {"alpha": 1.0, "rank": 2},
    }
    (weights / "house.json").write_text(json.dumps(record))
    return HouseSource(str(folder / "cache"), str(base), str(weights))


def _write_base(folder: Path, layers: int) -> None:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *map(chr, range(32, 127))]
    tokenizer = Tokenizer(models.WordLevel({piece: at for at, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    wrapped: Any = PreTrainedTokenizerFast
    wrapped(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=HIDDEN,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * HIDDEN,
        max_position_embeddings=160,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
