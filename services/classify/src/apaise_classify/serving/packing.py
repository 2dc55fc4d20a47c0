"""Rows of a batch laid end to end: nothing is padded where it costs, and a row attends to itself alone.

A padded batch computes as many tokens for its shortest row as for its longest. Here the linear layers, which are nearly
all of the work, see one matrix of the tokens that are really there. Only attention and the brands' low-rank updates
need to know where a row begins: for them, rows of about the same length form *blocks*, rectangles [rows, longest] that
are views of the matrix when their rows have one length, and gathered from it when not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

# A block may hold this many times its real tokens, and this many rows: few blocks, little waste.
WASTE: Final = 1.25
BLOCK_ROWS: Final = 32


@dataclass(frozen=True)
class Block:
    """Neighbouring rows of a pack, as a rectangle.

    Attributes:
        rows: which rows of the pack, [start, stop).
        tokens: where their tokens are in it, [start, stop).
        longest: tokens of the longest row.
        index: int64 [rows * longest], the token at each place, 0 where there is none; None when all have one length.
        mask: bool [rows, longest], where there is one; None with `index`.
    """

    rows: slice
    tokens: slice
    longest: int
    index: Tensor | None
    mask: Tensor | None

    def spread(self, packed: Tensor) -> Tensor:
        """[tokens, ...] of the whole pack -> [rows, longest, ...] of this block."""
        count = self.rows.stop - self.rows.start
        part = packed[self.tokens] if self.index is None else packed.index_select(0, self.index)
        return part.view(count, self.longest, *packed.shape[1:])

    def gathered(self, spread: Tensor) -> Tensor:
        """[rows, longest, ...] -> [tokens, ...] of this block, places without a token dropped."""
        flat = spread.reshape(-1, *spread.shape[2:])
        return flat if self.mask is None else flat[self.mask.view(-1)]


@dataclass(frozen=True)
class Pack:
    """Token lists end to end, shortest first.

    Attributes:
        order: for each row of the pack, its place in what was given.
        ids: int64 [tokens].
        positions: int64 [tokens], each token's place in its row.
        owners: int64 [tokens], each token's row in the pack.
        lengths: int64 [rows].
        blocks: the rows as rectangles, in order.
    """

    order: list[int]
    ids: Tensor
    positions: Tensor
    owners: Tensor
    lengths: Tensor
    blocks: list[Block]


def pack(ids: Sequence[Sequence[int]], device: torch.device) -> Pack:
    """Lay token lists end to end; each has at least one token."""
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    lengths = [len(ids[row]) for row in order]
    sizes = torch.tensor(lengths, dtype=torch.long)
    starts = sizes.cumsum(0) - sizes
    owners = torch.repeat_interleave(sizes)
    return Pack(
        order=order,
        ids=torch.tensor([token for row in order for token in ids[row]], dtype=torch.long).to(device),
        positions=(torch.arange(len(owners)) - starts[owners]).to(device),
        owners=owners.to(device),
        lengths=sizes.to(device),
        blocks=[_block(rows, starts, sizes, device) for rows in _alike(lengths)],
    )


def _alike(lengths: Sequence[int]) -> Iterator[slice]:
    """Ranges of rows, shortest first, that fit one rectangle without much waste."""
    start, real = 0, 0
    for row, length in enumerate(lengths):
        if row > start and (length * (row - start + 1) > WASTE * (real + length) or row - start == BLOCK_ROWS):
            yield slice(start, row)
            start, real = row, 0
        real += length
    if lengths:
        yield slice(start, len(lengths))


def _block(rows: slice, starts: Tensor, sizes: Tensor, device: torch.device) -> Block:
    longest, first = int(sizes[rows.stop - 1]), int(starts[rows.start])
    tokens = slice(first, int(starts[rows.stop - 1]) + longest)
    if int(sizes[rows.start]) == longest:
        return Block(rows, tokens, longest, None, None)
    places = torch.arange(longest)
    mask = places < sizes[rows].unsqueeze(1)
    index = torch.where(mask, starts[rows].unsqueeze(1) + places, 0)
    return Block(rows, tokens, longest, index.view(-1).to(device), mask.to(device))
