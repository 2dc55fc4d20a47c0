"""Which words made a label hold: what its score loses when they are taken out.

The words of a text are taken out one after the other, or in pieces of several when there are many, and the text is read
again without them, in the same batches as everything else. What a label's logit loses is what the piece was worth. This
measures the model instead of approximating it, and serves every label at once. Source: leave-one-out erasure, Li et al.
2016 (arXiv:1612.08220).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from apaise_classify.domain.reading import Span
from mlops.base.normalize import Normalized

# More pieces cost more passes; 16 keep an explanation under ten times the cost of the reading it explains.
MAX_PIECES: Final = 16
# A piece is shown when it is worth this share of the strongest one, which must have moved the logit by this much.
SHARE: Final = 0.35
LEAST_DROP: Final = 0.2

Floats = NDArray[np.float64]


def pieces(offsets: Sequence[tuple[int, int]], text: str, limit: int = MAX_PIECES) -> list[range]:
    """Token ranges of a text's words, several to a range when there are more than `limit`.

    Args:
        offsets: characters of each token.
        text: what was tokenised. A word ends where a blank is, or a letter meets what is none.
        limit: most ranges.
    """
    starts = [at for at in range(len(offsets)) if at == 0 or _begins_a_word(offsets[at - 1], offsets[at], text)]
    words = [range(*pair) for pair in zip(starts, [*starts[1:], len(offsets)], strict=True)]
    size = -(-len(words) // limit) if words else 1
    return [range(words[at].start, words[min(at + size, len(words)) - 1].stop) for at in range(0, len(words), size)]


def _begins_a_word(before: tuple[int, int], token: tuple[int, int], text: str) -> bool:
    if token[0] >= token[1] or before[0] >= before[1]:
        return False
    last, first = text[before[1] - 1], text[token[0]]
    return token[0] > before[1] or first.isspace() or last.isspace() or first.isalnum() != last.isalnum()


def spans(
    label: str, drops: Floats, parts: Sequence[range], offsets: Sequence[tuple[int, int]], read: Normalized
) -> list[Span]:
    """The pieces that count for one label, neighbours joined, strongest first.

    Args:
        label: whose.
        drops: what the label's logit loses without each piece, [pieces].
        parts: their token ranges.
        offsets: characters of each token in the normalised text.
        read: the normalised text, which knows where its characters came from.
    """
    strongest = drops.max(initial=0.0)
    if strongest < LEAST_DROP:
        return []
    total = float(drops[drops > 0].sum())
    found: list[tuple[int, range, float]] = []
    for at, (part, drop) in enumerate(zip(parts, drops, strict=True)):
        if drop < SHARE * strongest:
            continue
        if found and found[-1][0] == at - 1:
            _, before, worth = found.pop()
            found.append((at, range(before.start, part.stop), worth + float(drop)))
        else:
            found.append((at, part, float(drop)))
    shown = [(_characters(part, offsets, read.text), worth / total) for _, part, worth in found]
    kept = [Span(label, *read.original(*place), round(worth, 2)) for place, worth in shown if place[0] < place[1]]
    return sorted(kept, key=lambda span: -span.weight)


def _characters(part: range, offsets: Sequence[tuple[int, int]], text: str) -> tuple[int, int]:
    """What of the text a token range covers, without the blanks around it."""
    start, end = offsets[part.start][0], offsets[part.stop - 1][1]
    covered = text[start:end]
    return start + len(covered) - len(covered.lstrip()), end - len(covered) + len(covered.rstrip())
