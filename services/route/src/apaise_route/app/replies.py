"""Drafts of replies."""

from __future__ import annotations

from dataclasses import replace

from apaise_route.adapters.scenarios import scenarios
from apaise_route.app.answers import find_answers
from apaise_route.app.deps import Deps
from apaise_route.app.preflight import would_be
from apaise_route.app.replying import Owed, owed_a_reply
from apaise_route.domain.answers import LEAD, MOST_COMPARED, fits, near_enough
from apaise_route.domain.model import Audience, Visibility
from apaise_route.domain.replies import Draft, DraftNote, draft, note_of


async def draft_reply(deps: Deps, brand: str, message: str, posture: str) -> Draft:
    """A draft for a message, read and decided like any message before it is given.

    Raises:
        NotFound: the message was never decided.
        FailedPrecondition: (MESSAGE_GONE) it was deleted or erased.
        Unavailable: classify or the database does not answer.
    """
    async with deps.db.read() as conn:
        owed = await owed_a_reply(deps, conn, (brand, message))
    wished = posture or owed.decision.ruling.reply_posture
    found = draft(scenarios(), owed.asked, wished, owed.charter.charter.language)
    if found.note in (DraftNote.NOT_READ, DraftNote.A_PERSON_FIRST):
        return found
    approved = await approved_draft(deps, owed, wished)
    for one in (approved, found):
        if one is not None and one.text and await would_show(deps, owed, one):
            return one
    given = approved is not None or found.text
    return replace(found, text="", scenario="", note=DraftNote.WOULD_NOT_SHOW) if given else found


async def approved_draft(deps: Deps, owed: Owed, posture: str, needed: float = LEAD) -> Draft | None:
    """The brand's own answer to what is asked; None when none is near enough."""
    asked = owed.asked
    if not asked.text.strip():
        return None
    near = await find_answers(deps, owed.decision.brand, asked.text, owed.language, MOST_COMPARED)
    fitting = [one for one in near if fits(one.answer, asked, posture)]
    if not fitting or not near_enough(fitting, needed):
        return None
    taken = fitting[0]
    return Draft(
        text=taken.answer.text,
        posture=taken.answer.posture,
        language=owed.language,
        audience=asked.audience,
        note=note_of(posture, taken.answer.posture),
        answer=taken.answer.name,
        similarity=taken.similarity,
    )


async def would_show(deps: Deps, owed: Owed, one: Draft) -> bool:
    """Whether a draft, read and decided like any message of the brand, would show."""
    private = owed.asked.audience is Audience.PRIVATE
    brand = owed.decision.brand
    ((reading, _),) = await deps.reader.read(brand, [one.text], one.language, private=private, explain=False)
    return would_be(deps, owed.charter, owed.channel, one.text, reading).visibility <= Visibility.KEEP
