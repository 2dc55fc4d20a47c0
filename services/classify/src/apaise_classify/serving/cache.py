"""Scores of what was read before: a third of a wave of messages are copies of one another.

What is kept is what the model said, nothing that was made of it: thresholds, precedents and explanations come after. A
key is all that the score depends on, and whose it is: encoder, revision, brand, whether it was written in private, and
the model's exact input. A brand never gets another's scores, nor a public message a private one's; and no text is kept,
only its digest and its trace.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apaise_classify.domain.reading import Edition

Key = bytes


@dataclass(frozen=True, slots=True)
class Known:
    """Raw scores of one text, [len(LABELS)], whether it was longer than the window, and its trace, unit [H]."""

    scores: NDArray[np.float64]
    truncated: bool
    trace: NDArray[np.float32]


def key_of(edition: Edition, brand: str, private: bool, text: str) -> Key:
    """The digest of everything a score depends on."""
    parts = (edition.encoder, edition.normalizer, edition.revision, brand, str(private), text)
    return hashlib.blake2b("\0".join(parts).encode(errors="surrogatepass"), digest_size=16).digest()


class ScoreCache:
    """The last `entries` texts read, by key. Safe to use from many threads; nothing at all with no entries."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._known: OrderedDict[Key, Known] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, keys: Sequence[Key]) -> list[Known | None]:
        """What is known of each key."""
        with self._lock:
            found = [self._known.get(key) for key in keys]
            for key, known in zip(keys, found, strict=True):
                if known is not None:
                    self._known.move_to_end(key)
        return found

    def keep(self, keys: Sequence[Key], known: Sequence[Known]) -> None:
        """Remember, forgetting what was asked for longest ago."""
        with self._lock:
            self._known.update(zip(keys, known, strict=True))
            while len(self._known) > self._entries:
                self._known.popitem(last=False)
