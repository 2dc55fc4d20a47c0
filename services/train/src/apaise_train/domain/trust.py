"""Whose corrections count, and how much: what is contradicted, copied out or dangerous is set aside, with a reason.

Nothing here asks whether a correction agrees with the model: a community's custom is what contradicts it. What tells
custom from carelessness or an attack is other people: golden reviewers, whose word is taken as right, whoever resolved
a near-identical text, and the leads who know the answers of the golden items a reviewer was given.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from apaise_train.domain.examples import Example, fold

# Fewer judgements than this say nothing of a person.
MIN_JUDGED: Final = 5
LEAST_AGREEMENT: Final = 0.5
# Someone nobody could compare yet counts as one who agreed this often: fully.
PRIOR: Final = 4
# Copies of one text by one reviewer that teach; more would only make it louder.
COPIES: Final = 3
SURE_OF_DANGER: Final = 0.9


class Tally(NamedTuple):
    """How many golden items somebody answered, and how many of them rightly."""

    answered: int
    right: int


class Doubt(StrEnum):
    """Why a correction does not teach."""

    UNTRUSTED = "UNTRUSTED"
    CONTRADICTED = "CONTRADICTED"
    MASS_PRODUCED = "MASS_PRODUCED"
    DANGER_ALONE = "DANGER_ALONE"


REASONS: Final[Mapping[Doubt, str]] = {
    Doubt.UNTRUSTED: "their reviewer contradicts golden items, golden or other reviewers in most cases",
    Doubt.CONTRADICTED: "other people, or the same one later, decided otherwise of the same text",
    Doubt.MASS_PRODUCED: f"more than {COPIES} copies of one text by one reviewer",
    Doubt.DANGER_ALONE: "they keep what the model was sure endangers people, and nobody else said so",
}


@dataclass(frozen=True)
class Judgement:
    """What became of a brand's corrections.

    Attributes:
        doubts: reviews set aside, and why.
        trust: by reviewer, 0 to 1: what their corrections' weights are multiplied by.
    """

    doubts: Mapping[str, Doubt]
    trust: Mapping[str, float]

    def words(self) -> str:
        """One sentence for people on what was set aside; empty when nothing was."""
        counts = Counter(self.doubts.values())
        parts = [f"{counts[doubt]} ({REASONS[doubt]})" for doubt in Doubt if counts[doubt]]
        return f"Set aside: {'; '.join(parts)}." if parts else ""


def judge_corrections(
    examples: Sequence[Example], golden: Collection[str] = (), tallies: Mapping[str, Tally] = MappingProxyType({})
) -> Judgement:
    """Set aside what should not teach, and weigh the rest by who said it.

    Args:
        examples: what counts now, in the order it was said.
        golden: reviewers whose word is taken as right.
        tallies: by reviewer, how golden items were answered: each is one more case in which they were judged.
    """
    groups: defaultdict[str, list[Example]] = defaultdict(list)
    for example in examples:
        groups[fold(example.text)].append(example)
    trust, untrusted = _trust(groups.values(), frozenset(golden), tallies)
    doubts = {example.review: Doubt.UNTRUSTED for example in examples if example.actor in untrusted}
    for group in groups.values():
        doubts |= _doubts([one for one in group if one.actor not in untrusted], frozenset(golden))
    return Judgement(doubts, trust)


def _trust(
    groups: Collection[Sequence[Example]], golden: frozenset[str], tallies: Mapping[str, Tally]
) -> tuple[dict[str, float], frozenset[str]]:
    """Each reviewer's share of agreement with golden items and reviewers or, without these, with most of the others."""
    told = {actor: tally for actor, tally in tallies.items() if tally.answered and actor not in golden}
    agreed: Counter[str] = Counter({actor: tally.right for actor, tally in told.items()})
    judged: Counter[str] = Counter({actor: tally.answered for actor, tally in told.items()})
    for group in groups:
        words = {example.actor: example.remove for example in group}
        for actor in set(words) - golden:
            right = _settled({other: word for other, word in words.items() if other != actor}, golden)
            if right is not None:
                judged[actor] += 1
                agreed[actor] += words[actor] is right
    trust = {actor: (agreed[actor] + PRIOR) / (judged[actor] + PRIOR) for actor in judged}
    untrusted = {
        actor for actor in judged if judged[actor] >= MIN_JUDGED and agreed[actor] < LEAST_AGREEMENT * judged[actor]
    }
    return trust, frozenset(untrusted)


def _settled(words: Mapping[str, bool], golden: frozenset[str]) -> bool | None:
    """What people hold of a text, golden ones alone where there are any; None when nobody says or they are divided."""
    heard = [word for actor, word in words.items() if actor in golden] or list(words.values())
    removed = sum(heard)
    if 2 * removed == len(heard):
        return None
    return 2 * removed > len(heard)


def _doubts(group: Sequence[Example], golden: frozenset[str]) -> dict[str, Doubt]:
    """Of one text's corrections by people who are trusted."""
    words = {example.actor: example.remove for example in group}
    right = _settled(words, golden)
    copies: Counter[str] = Counter()
    doubts: dict[str, Doubt] = {}
    for example in group:
        if example.remove is not right:
            doubts[example.review] = Doubt.CONTRADICTED
            continue
        copies[example.actor] += 1
        seconded = any(word is right for actor, word in words.items() if actor != example.actor)
        if copies[example.actor] > COPIES:
            doubts[example.review] = Doubt.MASS_PRODUCED
        elif _endangers(example) and not seconded and example.actor not in golden:
            doubts[example.review] = Doubt.DANGER_ALONE
    return doubts


def _endangers(example: Example) -> bool:
    return not example.remove and example.danger >= SURE_OF_DANGER
