"""Rows of a batch laid end to end: nothing is padded where it costs, and a row attends to itself alone.

A padded batch computes as many tokens for its shortest row as for its longest. Here the linear layers, which are nearly
all of the work, see one matrix of the tokens that are really there. Only attention and the brands' low-rank updates
need to know where a row begins: for them, rows of about the same length form *blocks*, rectangles [rows, longest]
gathered from the matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

# Every shape of a product is compiled once by oneDNN and kept: sizes come in steps, so that few shapes ever occur.
TOKEN_STEP: Final = 32
LENGTH_STEP: Final = 4
BLOCK_ROWS: Final = (32, 16, 8, 4, 2, 1)
# A block may hold this many times its real tokens.
WASTE: Final = 1.3


@dataclass(frozen=True)
class Block:
    """Neighbouring rows of a pack, as a rectangle.

    Attributes:
        rows: which rows of the pack, [start, stop).
        tokens: where their tokens are in it, [start, stop).
        longest: tokens of the longest row, in steps.
        index: int64 [rows * longest], the token at each place, 0 where there is none.
        real: int64 [tokens], the places that have one.
        there: bool [rows, 1, 1, longest], where there is one.
    """

    rows: slice
    tokens: slice
    longest: int
    index: Tensor
    real: Tensor
    there: Tensor

    def spread(self, packed: Tensor) -> Tensor:
        """[tokens, ...] of the whole pack -> [rows, longest, ...] of this block."""
        count = self.rows.stop - self.rows.start
        return packed.index_select(0, self.index).view(count, self.longest, *packed.shape[1:])

    def gathered(self, spread: Tensor) -> Tensor:
        """[rows, longest, ...] -> [tokens, ...] of this block, places without a token dropped."""
        return spread.reshape(-1, *spread.shape[2:]).index_select(0, self.real)


@dataclass(frozen=True)
class Pack:
    """Token lists end to end, shortest first, and a few tokens of nobody's that fill the last step.

    Attributes:
        order: for each row of the pack, its place in what was given.
        ids: int64 [tokens].
        positions: int64 [tokens], each token's place in its row.
        owners: int64 [tokens], each token's row in the pack; the number of rows for nobody's.
        lengths: int64 [rows].
        blocks: the rows as rectangles, in order.
    """

    order: list[int]
    ids: Tensor
    positions: Tensor
    owners: Tensor
    lengths: Tensor
    blocks: list[Block]

    def means(self, hidden: Tensor) -> Tensor:
        """Mean of each row's tokens, float32 [rows, H], from [tokens, H]."""
        sums = hidden.new_zeros(len(self.lengths) + 1, hidden.shape[1], dtype=torch.float32)
        sums.index_add_(0, self.owners, hidden.to(torch.float32))
        return sums[:-1] / self.lengths.unsqueeze(1)


def pack(ids: Sequence[Sequence[int]], device: torch.device) -> Pack:
    """Lay token lists end to end; each has at least one token."""
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    lengths = [len(ids[row]) for row in order]
    rest = -sum(lengths) % TOKEN_STEP
    tokens = [token for row in order for token in ids[row]]
    sizes = torch.tensor(lengths, dtype=torch.long)
    starts = sizes.cumsum(0) - sizes
    owners = torch.cat([torch.repeat_interleave(sizes), torch.full((rest,), len(ids))])
    places = torch.arange(len(tokens)) - starts[owners[: len(tokens)]]
    return Pack(
        order=order,
        ids=torch.tensor([*tokens, *[tokens[0]] * rest], dtype=torch.long).to(device),
        positions=functional.pad(places, (0, rest)).to(device),
        owners=owners.to(device),
        lengths=sizes.to(device),
        blocks=[_block(rows, starts, sizes, device) for rows in _alike(lengths)],
    )


def _alike(lengths: Sequence[int]) -> Iterator[slice]:
    """Ranges of rows, shortest first, each the largest that fits one rectangle without much waste."""
    start = 0
    while start < len(lengths):
        for rows in BLOCK_ROWS:
            part = lengths[start : start + rows]
            if len(part) == rows and (rows == 1 or _in_steps(part[-1]) * rows <= WASTE * sum(part)):
                break
        yield slice(start, start + rows)
        start += rows


def _in_steps(length: int) -> int:
    return length + -length % LENGTH_STEP


def _block(rows: slice, starts: Tensor, sizes: Tensor, device: torch.device) -> Block:
    longest, first = _in_steps(int(sizes[rows.stop - 1])), int(starts[rows.start])
    places = torch.arange(longest)
    there = places < sizes[rows].unsqueeze(1)
    index = torch.where(there, starts[rows].unsqueeze(1) + places, 0).view(-1)
    return Block(
        rows=rows,
        tokens=slice(first, int(starts[rows.stop - 1] + sizes[rows.stop - 1])),
        longest=longest,
        index=index.to(device),
        real=there.view(-1).nonzero().squeeze(1).to(device),
        there=there[:, None, None, :].to(device),
    )
