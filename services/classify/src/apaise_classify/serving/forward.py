"""The forward pass of a BERT-like encoder over packed rows, each with its own brand's low-rank updates.

BERT, RoBERTa, XLM-R and CamemBERT share one layout; their weights are taken over as they are, with query, key and value
as one matrix. In an adapted layer, every matrix W has a *bank* of updates, one per slot, and a row of slot s gets

    y = W x + b + (x A_s) B_s

The rows of a block gather their A_s and B_s and are multiplied in one batched product each: there is no loop over
brands, and a row's arithmetic never sees its neighbours. Slot 0 is the house: zeros, skipped when no row of a block has
another.

Shapes: T tokens of the pass, n rows and t tokens of a block, H hidden size, r rank, S slots.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from apaise_classify.serving.packing import Block, Pack
from apaise_classify.serving.product import Product
from mlops.base import BRAND_RANK, BaseModelError

# Module names of a layer, by the matrix they are part of; query, key and value are one.
PARTS: Final[Mapping[str, Sequence[str]]] = {
    "attended": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "mixed": ("attention.output.dense",),
    "risen": ("intermediate.dense",),
    "fallen": ("output.dense",),
}
_ACTIVATIONS: Final = {"gelu": functional.gelu, "relu": functional.relu}


class Matrix:
    """A linear map of the encoder, and, where brands adapt it, its bank of updates.

    `down` is [S, H_in, k r] and `up` [S, k r, H_out] for the k modules the matrix is made of: module i has columns
    [i r, (i + 1) r) of `down`, and in `up` those rows meet its own part of the output, zero elsewhere.
    """

    def __init__(self, modules: Sequence[Any], capacity: int) -> None:
        """Join linear modules that read the same input; no bank when `capacity` is 0."""
        weight = torch.cat([module.weight for module in modules]).contiguous()
        self.inputs = weight.shape[1]
        self.sizes = [module.weight.shape[0] for module in modules]
        self._product = Product(weight, torch.cat([module.bias for module in modules]).contiguous())
        rank = BRAND_RANK * len(modules)
        self.down = weight.new_zeros(capacity, weight.shape[1], rank)
        self.up = weight.new_zeros(capacity, rank, weight.shape[0])

    def __call__(self, x: Tensor, updates: Updates | None) -> Tensor:
        """[T, H_in] -> [T, H_out], rows with an adapter updated by it."""
        return self._updated(self._product(x), x, updates)

    def plus(self, x: Tensor, residual: Tensor, updates: Updates | None) -> Tensor:
        """The same with a residual [T, H_out] added."""
        return self._updated(self._product.plus(x, residual), x, updates)

    def activated(self, x: Tensor, activation: Callable[[Tensor], Tensor], updates: Updates | None) -> Tensor:
        """The same through an activation."""
        if activation is functional.gelu and (updates is None or not len(self.down)):
            return self._product.gelu(x)
        return activation(self(x, updates))

    def _updated(self, y: Tensor, x: Tensor, updates: Updates | None) -> Tensor:
        if updates is not None and len(self.down):
            updates.add(x, self, y)
        return y

    def write(self, slot: int, downs: Sequence[Tensor], ups: Sequence[Tensor]) -> None:
        """Fill a slot from each module's lora_A [r, H_in] and scaled lora_B [H_out, r]; lower ranks leave zeros."""
        down, up = torch.zeros_like(self.down[slot]), torch.zeros_like(self.up[slot])
        first = 0
        for at, (a, b, size) in enumerate(zip(downs, ups, self.sizes, strict=True)):
            columns = slice(at * BRAND_RANK, at * BRAND_RANK + len(a))
            down[:, columns] = a.T.to(down)
            up[columns, first : first + size] = b.T.to(up)
            first += size
        self.down[slot], self.up[slot] = down, up

    def grow(self, capacity: int) -> None:
        """Longer banks with the same content; passes under way keep the ones they began with."""
        self.down, self.up = grown(self.down, capacity), grown(self.up, capacity)


@dataclass(frozen=True)
class Updates:
    """Which slot each row of a pass uses, block by block. Blocks of house rows alone are left out."""

    blocks: Sequence[tuple[Block, Tensor]]

    @classmethod
    def of(cls, pack: Pack, slots: Tensor) -> Updates | None:
        """Of a pack's rows, by their slots [n]; None when all are the house's."""
        parts = [(block, _padded(slots[block.rows], block.height)) for block in pack.blocks]
        adapted = [(block, part) for block, part in parts if bool(part.any())]
        return cls(adapted) if adapted else None

    def add(self, x: Tensor, matrix: Matrix, y: Tensor) -> None:
        """Add every block's updates to y, in place."""
        down, up = matrix.down, matrix.up
        for block, slots in self.blocks:
            low = torch.bmm(block.spread(x), down.index_select(0, slots))
            update = torch.bmm(low, up.index_select(0, slots))
            y[block.tokens] += block.gathered(update)


def _padded(slots: Tensor, height: int) -> Tensor:
    return functional.pad(slots, (0, height - len(slots)))


@dataclass(frozen=True)
class Layer:
    """One transformer layer: attention, then two maps with an activation between; each half is added and normalised."""

    attended: Matrix
    mixed: Matrix
    risen: Matrix
    fallen: Matrix
    norms: Sequence[Any]
    heads: int
    activation: Any

    def __call__(self, x: Tensor, pack: Pack, updates: Updates | None) -> Tensor:
        """[T, H] -> [T, H]."""
        attended = _attention(self.attended(x, updates), pack, self.heads)
        x = self.norms[0](self.mixed.plus(attended, x, updates))
        risen = self.risen.activated(x, self.activation, updates)
        return self.norms[1](self.fallen.plus(risen, x, updates))  # type: ignore[no-any-return]

    @property
    def matrices(self) -> Mapping[str, Matrix]:
        """The four maps by their names in `PARTS`."""
        return {name: getattr(self, name) for name in PARTS}


def _attention(qkv: Tensor, pack: Pack, heads: int) -> Tensor:
    """[T, 3 H] -> [T, H]: every row over its own tokens."""
    size = qkv.shape[1] // 3
    out = qkv.new_zeros(len(qkv), size)
    for block in pack.blocks:
        spread = block.spread(qkv)
        q, k, v = spread.view(*spread.shape[:2], 3, heads, size // heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=block.there)
        out[block.tokens] = block.gathered(mixed.transpose(1, 2).flatten(2))
    return out


@dataclass
class Forward:
    """An encoder's layers, ready for packed rows.

    Attributes:
        embed: token ids [T] and positions [T] -> [T, H].
        layers: in order.
        shared: layers no brand adapts; what comes out of the last of them is the same for every brand.
        adapted: name of each adaptable linear module to its matrix and its place in it.
    """

    embed: Any
    layers: list[Layer]
    shared: int
    adapted: dict[str, tuple[Matrix, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Any, adapted: Sequence[str], capacity: int) -> Forward:
        """Take over a Hugging Face model's weights.

        Args:
            model: in eval mode; its modules must not be used for anything else from now on.
            adapted: full names of the linear modules brands adapt.
            capacity: slots of the banks.

        Raises:
            BaseModelError: the model does not have BERT's layout.
        """
        try:
            numbers = {int(found[1]) for name in adapted if (found := re.search(r"\.(\d+)\.", name))}
            layers = [
                _layer(one, model.config, capacity if number in numbers else 0)
                for number, one in enumerate(model.encoder.layer)
            ]
            forward = cls(_Embedding(model.embeddings), layers, min(numbers, default=len(layers)))
        except (AttributeError, KeyError) as error:
            raise BaseModelError(
                "only encoders of BERT's layout (BERT, RoBERTa, XLM-R, CamemBERT) can be served; choose such a base"
            ) from error
        for number in sorted(numbers):
            for part, names in PARTS.items():
                for place, name in enumerate(names):
                    forward.adapted[f"encoder.layer.{number}.{name}"] = layers[number].matrices[part], place
        return forward

    def __call__(self, pack: Pack, updates: Updates | None) -> tuple[Tensor, Tensor]:
        """Hidden states [T, H] of a pack's tokens: the last ones, and those of the last layer all brands share."""
        x: Tensor = self.embed(pack.ids, pack.positions)
        for layer in self.layers[: self.shared]:
            x = layer(x, pack, updates)
        shared = x
        for layer in self.layers[self.shared :]:
            x = layer(x, pack, updates)
        return x, shared

    def shape(self, name: str) -> tuple[int, int]:
        """Inputs and outputs of an adapted module."""
        matrix, place = self.adapted[name]
        return matrix.inputs, matrix.sizes[place]

    @property
    def bytes(self) -> int:
        """Memory of all banks."""
        return sum(matrix.down.nbytes + matrix.up.nbytes for matrix in self._banked())

    def grow(self, capacity: int) -> None:
        """Make room in every bank."""
        for matrix in self._banked():
            matrix.grow(capacity)

    def _banked(self) -> Iterable[Matrix]:
        return {id(matrix): matrix for matrix, _ in self.adapted.values()}.values()

    def write(self, slot: int, down: Mapping[str, Tensor], up: Mapping[str, Tensor]) -> None:
        """Fill a slot with an adapter's factors, by module name."""
        names: dict[int, list[str]] = {}
        for name, (matrix, _) in self.adapted.items():
            names.setdefault(id(matrix), []).append(name)
        for group in names.values():
            matrix = self.adapted[group[0]][0]
            matrix.write(slot, [down[name] for name in group], [up[name] for name in group])


def _layer(source: Any, config: Any, capacity: int) -> Layer:
    matrices = {part: Matrix([source.get_submodule(name) for name in names], capacity) for part, names in PARTS.items()}
    norms = [source.attention.output.LayerNorm, source.output.LayerNorm]
    return Layer(**matrices, norms=norms, heads=config.num_attention_heads, activation=_ACTIVATIONS[config.hidden_act])


class _Embedding:
    """Word, position and type embeddings, added and normalised. RoBERTa counts positions from after its padding's."""

    def __init__(self, source: Any) -> None:
        self._source = source
        padding = source.position_embeddings.padding_idx
        self._first = 0 if padding is None else padding + 1

    def __call__(self, ids: Tensor, positions: Tensor) -> Tensor:
        """[T] and [T] -> [T, H]."""
        source = self._source
        x = source.word_embeddings(ids) + source.token_type_embeddings.weight[0]
        normal: Tensor = source.LayerNorm(x + source.position_embeddings(positions + self._first))
        return normal


def grown(bank: Tensor, capacity: int) -> Tensor:
    """A longer bank that begins with this one."""
    longer = bank.new_zeros(capacity, *bank.shape[1:])
    longer[: len(bank)] = bank
    return longer
