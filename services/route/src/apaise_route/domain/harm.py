"""What it may cost that nobody looks at a message, and the order of the queue that follows from it.

Expected harm is uncertainty × severity × visibility, each 0 to 1, of what a decision has at hand: the assessment, the
channel, and whether the message shows meanwhile. How many people were reached nobody tells route: it is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from apaise_route.domain.model import Assessment, Audience, Channel, ChannelKind, Score, Verdict, Visibility

# What it costs to be wrong about a label. A label that is not here harms nobody by being misread.
SEVERITY: Final[Mapping[str, float]] = {
    **dict.fromkeys(("threat", "self_harm", "hate"), 1.0),
    **dict.fromkeys(("harassment", "sexual", "personal_data", "distress"), 0.8),
    "scam": 0.6,
    **dict.fromkeys(("insult", "toxic", "veiled", "complaint", "remove"), 0.4),
    **dict.fromkeys(("profanity", "spam", "political", "provocation", "boycott"), 0.2),
}
# Nobody read it: as uncertain as can be about what a community would take down.
UNREAD: Final = 0.4
# Calibration is never perfect: among what the model is sure of, severity still orders.
LEAST_UNCERTAIN: Final = 0.1
# Who is there: all at once, whoever comes by later, whoever looks for it.
REACH: Final[Mapping[ChannelKind, float]] = {
    ChannelKind.LIVE_CHAT: 1.0,
    ChannelKind.COMMENT: 0.8,
    ChannelKind.REVIEW: 0.8,
    ChannelKind.FORUM: 0.6,
    ChannelKind.EMAIL: 0.3,
    ChannelKind.PRIVATE_MESSAGE: 0.3,
}
PRIVATE_REACH: Final = 0.2
# What does not show harms only its author, when it should.
HIDDEN: Final = 0.5
_STEPS: Final = 10


def uncertainty(score: Score) -> float:
    """Twice the chance that the reading of one label is wrong, at most 1; UNSURE is 1."""
    if score.verdict is Verdict.UNSURE:
        return 1.0
    if score.holds:
        return min(1.0, max(LEAST_UNCERTAIN, 2 * (1 - score.probability)))
    return min(1.0, 2 * score.probability)


def reach(channel: Channel) -> float:
    """How public a channel is."""
    return PRIVATE_REACH if channel.audience is Audience.PRIVATE else REACH[channel.kind]


def expected_harm(assessment: Assessment | None, channel: Channel, visibility: Visibility) -> float:
    """Uncertainty × severity of the label where that is most, × visibility; 0 to 1, to 3 decimals.

    Args:
        assessment: what was understood, None when nobody read it.
        channel: where it was written.
        visibility: what was decided: what shows does more harm.
    """
    shown = reach(channel) * (HIDDEN if visibility > Visibility.KEEP else 1.0)
    return round(shown * (UNREAD if assessment is None else _at_stake(assessment.scores)), 3)


def _at_stake(scores: Mapping[str, Score]) -> float:
    return max((uncertainty(scores[label]) * cost for label, cost in SEVERITY.items() if label in scores), default=0.0)


def urgency(priority: int, harm: float) -> int:
    """Where an item stands in the queue, higher first: the tens of the charter's priority, then the expected harm in
    ten steps, then the priority's ones. What is still equal goes by due time.

    One small number, so that pages by key and their indexes stay as they are.
    """
    tens, ones = divmod(priority, 10)
    return tens * 100 + _step(harm) * 10 + ones


def priority_of(urgent: int) -> int:
    """The charter's priority in an urgency."""
    return urgent // 100 * 10 + urgent % 10


def _step(harm: float) -> int:
    return min(_STEPS - 1, round(harm * 1000) // 100)
