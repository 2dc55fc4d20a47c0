"""The usual way: transformers' `Trainer` with PEFT's LoRA, on the same base, rows and shape as our trainer.

`python -m mlops.bench.peft_trainer` reads a `Lesson` as JSON on stdin and prints `{"seconds", "scores"}`.
It gets what a careful user would give it: bfloat16 where the machine multiplies it, batches padded to their own longest
text, rows grouped by length, and heads on z-scores of the pooled vector, prepared outside the measured time.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops.base import BRAND_RANK, adapted_modules
from mlops.base.normalize import normalize

if TYPE_CHECKING:
    from torch import Tensor

    from mlops.base.encoder import Encoder


@dataclass(frozen=True)
class Lesson:
    """What both trainers get; rates are peaks, reached after a tenth of the steps and then falling to zero."""

    texts: Sequence[str]
    remove: Sequence[bool]
    held: Sequence[str]
    epochs: int
    batch: int
    lora_rate: float
    head_rate: float
    seed: int
    threads: int


def main() -> int:
    """Read a lesson, learn it, print what it took."""
    import torch

    from mlops.base.encoder import load_encoder
    from mlops.house import build_house, load_heads

    lesson = Lesson(**json.load(sys.stdin))
    torch.set_num_threads(lesson.threads)
    house = build_house()
    encoder, column = load_encoder(house.path), house.labels.index("remove")
    weight, bias = load_heads(house.heads)
    seconds, scores = fitted(lesson, encoder, weight[[column]], bias[[column]])
    sys.stdout.write(json.dumps({"seconds": seconds, "scores": scores}))
    return 0


def fitted(lesson: Lesson, encoder: Encoder, weight: Tensor, bias: Tensor) -> tuple[float, list[float]]:
    """Seconds of `Trainer.train()`, and the logits of the held texts afterwards.

    Args:
        weight: the house's head of `remove`, [1, H].
        bias: its bias, [1].
    """
    import torch
    from transformers import Trainer

    torch.manual_seed(lesson.seed)
    rows = [_one_window(encoder, text) for text in lesson.texts]
    vectors = encoder.pooled(rows)
    model = _model(encoder, weight, bias, vectors.mean(0), vectors.std(0).clamp(min=1e-3))
    dataset = [
        {"input_ids": ids, "length": len(ids), "labels": float(goes)}
        for ids, goes in zip(rows, lesson.remove, strict=True)
    ]
    optimizers = _optimizers(lesson, model, -(-len(rows) // lesson.batch) * lesson.epochs)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=_arguments(lesson, folder, encoder),
            train_dataset=dataset,
            data_collator=lambda batch: _padded(encoder, batch),
            optimizers=optimizers,
        )
        started = time.perf_counter()
        with redirect_stdout(sys.stderr):  # Trainer prints what it logs
            trainer.train()
        seconds = time.perf_counter() - started
    return round(seconds, 3), _scores(model.eval(), encoder, lesson.held)


def _one_window(encoder: Encoder, text: str) -> list[int]:
    return encoder.windows([normalize(text)]).ids[0]


def _model(encoder: Encoder, weight: Tensor, bias: Tensor, mean: Tensor, deviation: Tensor) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model
    from torch import nn

    config = LoraConfig(r=BRAND_RANK, lora_alpha=2 * BRAND_RANK, target_modules=adapted_modules(encoder.model))

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder: Any = get_peft_model(encoder.model, config)
            self.head = nn.Linear(weight.shape[1], 1)
            with torch.no_grad():
                self.head.weight.copy_(weight * deviation)
                self.head.bias.copy_(bias + weight @ mean)

        def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
            hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            vectors = (encoder.pool(hidden, attention_mask) - mean) / deviation
            logits = self.head(nn.functional.dropout(vectors, 0.1, self.training)).squeeze(1)
            if labels is None:
                return {"logits": logits}
            loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), labels)
            return {"loss": loss, "logits": logits}

    return Classifier()


def _optimizers(lesson: Lesson, model: Any, steps: int) -> tuple[Any, Any]:
    import torch
    from transformers import get_linear_schedule_with_warmup

    lora = [parameter for name, parameter in model.named_parameters() if "lora_" in name]
    groups = [
        {"params": lora, "lr": lesson.lora_rate, "weight_decay": 0.01},
        {"params": list(model.head.parameters()), "lr": lesson.head_rate, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98))
    warm = max(1, steps // 10)
    return optimizer, get_linear_schedule_with_warmup(optimizer, warm, steps)  # type: ignore[no-untyped-call]


def _arguments(lesson: Lesson, folder: str, encoder: Encoder) -> Any:
    import torch
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=lesson.epochs,
        per_device_train_batch_size=lesson.batch,
        train_sampling_strategy="group_by_length",
        bf16=encoder.dtype == torch.bfloat16,
        use_cpu=encoder.device.type == "cpu",
        max_grad_norm=1.0,
        seed=lesson.seed,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
    )


def _padded(encoder: Encoder, batch: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    import torch

    padded = encoder.pad([row["input_ids"] for row in batch])
    return {**padded, "labels": torch.tensor([row["labels"] for row in batch])}


def _scores(model: Any, encoder: Encoder, texts: Sequence[str]) -> list[float]:
    import torch

    from mlops.base.encoder import length_sorted

    ids = [_one_window(encoder, text) for text in texts]
    scores = [0.0] * len(ids)
    with torch.inference_mode():
        for rows in length_sorted(ids):
            for row, score in zip(rows, model(**encoder.pad([ids[row] for row in rows]))["logits"], strict=True):
                scores[row] = float(score)
    return scores


if __name__ == "__main__":
    sys.exit(main())
