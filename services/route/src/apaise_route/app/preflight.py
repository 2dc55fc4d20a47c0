"""What would become of a text, and how else it could be said. Nothing is stored: there is no transaction here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from apaise_route.app.deps import Deps
from apaise_route.domain.charter import CompiledCharter
from apaise_route.domain.decide import decide
from apaise_route.domain.model import Assessment, Audience, Channel, Message, RouteInput, Ruling, Visibility
from apaise_route.domain.rephrase import Passage, other_ways, passages_of

_PROPOSALS: Final = 2
# Nobody is drawn for the audit sample: nothing is queued.
_NEVER_DRAWN: Final = 1.0


@dataclass(frozen=True, slots=True)
class Preflight:
    """What would be decided, the passages that would count, and ways to say it that would show."""

    ruling: Ruling
    passages: Sequence[Passage]
    proposals: Sequence[str]

    @property
    def passes(self) -> bool:
        """Whether it would show."""
        return self.ruling.visibility <= Visibility.KEEP


async def preflight_message(deps: Deps, channel: Channel, text: str, language: str) -> Preflight:
    """Read a text, decide it by the charter in force and, when it would not show, look for ways that would.

    Raises:
        Unavailable: classify or the database does not answer.
    """
    async with deps.db.read() as conn:
        charter = await deps.shelf.one_in_force(conn, channel.brand)
    private = channel.audience is Audience.PRIVATE
    ((assessment, passages),) = await deps.reader.read(channel.brand, [text], language, private=private, explain=True)
    ruling = would_be(deps, charter, channel, text, assessment)
    if ruling.visibility <= Visibility.KEEP:
        return Preflight(ruling, (), ())
    counted = passages_of(passages, {label for reason in ruling.reasons for label in reason.evidence})
    ways = other_ways(text, counted, language or charter.charter.language)
    if not ways:
        return Preflight(ruling, counted, ())
    readings = await deps.reader.read(channel.brand, ways, language, private=private, explain=False)
    passing = [
        way
        for way, (reading, _) in zip(ways, readings, strict=True)
        if would_be(deps, charter, channel, way, reading).visibility <= Visibility.KEEP
    ]
    return Preflight(ruling, counted, passing[:_PROPOSALS])


def would_be(deps: Deps, charter: CompiledCharter, channel: Channel, text: str, assessment: Assessment) -> Ruling:
    """What would be decided for a text in a channel; nothing is drawn for audit."""
    now = deps.clock.now()
    message = Message(channel.brand, "preflight", channel.id, 1, text, "", now)
    message = replace(message, language=assessment.language)
    return decide(RouteInput(message, channel, assessment), charter, now, _NEVER_DRAWN).ruling
