"""The frozen lower layers run once; training and scoring run only the layers a brand adapts, on what was kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from apaise_kit.core.errors import FailedPrecondition, Reason
from mlops.base import adapted_modules
from mlops.base.encoder import Encoder, length_sorted
from mlops.base.shape import layer_of


class _Reached(Exception):
    """Raised at the first adapted layer: what lies above is not wanted."""


class _Skip(nn.Module):
    """Stands where a frozen layer was: its work is already in the hidden states."""

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return hidden_states


class _Given(nn.Module):
    """Stands where the embeddings were, and answers the hidden states it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = torch.empty(0)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.hidden


class UpperLayers:
    """The last layers of a BERT-like encoder as a function of cached hidden states.

    The model itself stays whole: `capture` runs its lower part, and inside `shortened()` its lower layers are stood in
    for, so that the library's own code builds masks and runs the upper layers exactly as in the full model.
    """

    def __init__(self, encoder: Encoder) -> None:
        """Find the layers.

        Raises:
            FailedPrecondition: (ADAPTER_WRONG_SHAPE) the encoder is not built like BERT.
        """
        self._encoder = encoder
        self._model: Any = encoder.model
        names = adapted_modules(self._model)
        self._first = min((layer for name in names if (layer := layer_of(name)) is not None), default=-1)
        if self._first < 0 or not isinstance(getattr(self._model, "embeddings", None), nn.Module):
            raise FailedPrecondition(
                "Brand adapters need an encoder built like BERT: embeddings, then a list of layers.",
                reason=Reason.ADAPTER_WRONG_SHAPE,
            )
        path = names[0].split(f".{self._first}.", 1)[0]
        self._layers: nn.ModuleList = self._model.get_submodule(path)
        self._given = _Given()

    @torch.no_grad()
    def capture(self, ids: Sequence[Sequence[int]]) -> list[Tensor]:
        """Hidden states entering the first adapted layer, one [tokens, hidden] per token list, in the given order."""
        kept: list[Tensor] = [torch.empty(0)] * len(ids)
        reached: list[Tensor] = []

        def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            reached.append(args[0] if args else kwargs["hidden_states"])
            raise _Reached

        hook = self._layers[self._first].register_forward_pre_hook(keep, with_kwargs=True)
        try:
            for rows in length_sorted(ids):
                try:
                    self._model(**self._encoder.pad([ids[row] for row in rows]))
                except _Reached:
                    hidden = reached.pop()
                for at, row in enumerate(rows):
                    kept[row] = hidden[at, : len(ids[row])].clone()
        finally:
            hook.remove()
        return kept

    @contextmanager
    def shortened(self) -> Iterator[None]:
        """Inside, `pooled` works and the full model does not."""
        embeddings = self._model.embeddings
        lower = [self._layers[index] for index in range(self._first)]
        self._model.embeddings = self._given
        for index in range(self._first):
            self._layers[index] = _Skip()
        try:
            yield
        finally:
            self._model.embeddings = embeddings
            for index, layer in enumerate(lower):
                self._layers[index] = layer
            self._given.hidden = torch.empty(0)

    def pooled(self, hidden: Sequence[Tensor]) -> Tensor:
        """Mean-pooled output of the upper layers, float32 [n, hidden size], with gradients."""
        sizes = torch.tensor([len(each) for each in hidden], device=self._encoder.device)
        padded = nn.utils.rnn.pad_sequence(list(hidden), batch_first=True)
        mask = (torch.arange(padded.shape[1], device=padded.device) < sizes[:, None]).long()
        self._given.hidden = padded
        out = self._model(input_ids=torch.zeros_like(mask), attention_mask=mask).last_hidden_state
        return self._encoder.pool(out, mask)
