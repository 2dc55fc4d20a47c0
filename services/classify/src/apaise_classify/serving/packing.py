"""Rows of a batch laid end to end: nothing is padded where it costs, and a row attends to itself alone.

A padded batch computes as many tokens for its shortest row as for its longest. Here the linear layers, which are nearly
all of the work, see one matrix of the tokens that are really there. Only attention and the brands' low-rank updates
need to know where a row begins: for them, rows of about the same length form *blocks*, rectangles [rows, longest]
gathered from the matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

# Every shape of a product is compiled once by oneDNN and kept: sizes come in steps, so that few shapes ever occur.
TOKEN_STEP: Final = 32
# A lone message must not pay for 32 tokens when it has 17: short passes have a finer step.
SHORT_STEP: Final = 8
SHORT: Final = 128
LENGTH_STEP: Final = 8
ROW_STEPS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
# What one more block costs, in places of a rectangle: a dozen small products in each layer, whatever their size.
BLOCK_PLACES: Final = 320


@dataclass(frozen=True)
class Block:
    """Neighbouring rows of a pack, as a rectangle.

    Attributes:
        rows: which rows of the pack, [start, stop); the rectangle has `height` rows, the last ones nobody's.
        tokens: where their tokens are in it, [start, stop).
        height: rows, in steps.
        longest: tokens of the longest row, in steps.
        index: int64 [height * longest], the token at each place, 0 where there is none.
        real: int64 [tokens], the places that have one.
        there: bool [height, 1, 1, longest], where a row may look.
    """

    rows: slice
    tokens: slice
    height: int
    longest: int
    index: Tensor
    real: Tensor
    there: Tensor

    def spread(self, packed: Tensor) -> Tensor:
        """[tokens, ...] of the whole pack -> [height, longest, ...] of this block."""
        return packed.index_select(0, self.index).view(self.height, self.longest, *packed.shape[1:])

    def gathered(self, spread: Tensor) -> Tensor:
        """[height, longest, ...] -> [tokens, ...] of this block, places without a token dropped."""
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
    rest = -sum(lengths) % (SHORT_STEP if sum(lengths) <= SHORT else TOKEN_STEP)
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


def _alike(lengths: Sequence[int]) -> list[slice]:
    """Ranges of rows, shortest first, whose rectangles together cost least.

    Rows as long as each other stay together; over the few lengths there are, the best cut before each is found from
    the best cuts before the shorter ones.
    """
    ends = [row + 1 for row in range(len(lengths)) if row + 1 == len(lengths) or _longer(lengths, row)]
    cuts: dict[int, tuple[int, int]] = {0: (0, 0)}
    for end in ends:
        wide = _in_steps(lengths[end - 1])
        cuts[end] = min((cost + BLOCK_PLACES + _height(end - cut) * wide, cut) for cut, (cost, _) in cuts.items())
    found: list[slice] = []
    end = len(lengths)
    while end:
        start = cuts[end][1]
        found.append(slice(start, end))
        end = start
    return found[::-1]


def _longer(lengths: Sequence[int], row: int) -> bool:
    """Whether the next row needs a wider rectangle than this one."""
    return _in_steps(lengths[row + 1]) > _in_steps(lengths[row])


def _in_steps(length: int) -> int:
    return length + -length % LENGTH_STEP


def _height(rows: int) -> int:
    return next((step for step in ROW_STEPS if step >= rows), rows)


def _block(rows: slice, starts: Tensor, sizes: Tensor, device: torch.device) -> Block:
    count, longest, first = rows.stop - rows.start, _in_steps(int(sizes[rows.stop - 1])), int(starts[rows.start])
    height = _height(count)
    places = torch.arange(longest)
    has = functional.pad(places < sizes[rows].unsqueeze(1), (0, 0, 0, height - count))
    index = torch.where(has[:count], starts[rows].unsqueeze(1) + places, 0)
    there = has.clone()
    there[count:, 0] = True  # nobody's rows look at one place, so that their softmax is a number
    return Block(
        rows=rows,
        tokens=slice(first, int(starts[rows.stop - 1] + sizes[rows.stop - 1])),
        height=height,
        longest=longest,
        index=functional.pad(index, (0, 0, 0, height - count)).view(-1).to(device),
        real=has.view(-1).nonzero().squeeze(1).to(device),
        there=there[:, None, None, :].to(device),
    )
