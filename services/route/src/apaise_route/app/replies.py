"""Drafts of replies."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from apaise_kit.core.errors import FailedPrecondition, Reason, not_found
from apaise_kit.core.names import MESSAGE
from apaise_route.adapters import store
from apaise_route.adapters.scenarios import scenarios
from apaise_route.app.deps import Deps
from apaise_route.app.preflight import would_be
from apaise_route.domain.model import Audience, Channel, ChannelKind, Moderation, Visibility
from apaise_route.domain.replies import Asked, Draft, DraftNote, draft

_UNKNOWN_PLACE: Final = (ChannelKind.PRIVATE_MESSAGE, Audience.PRIVATE, Moderation.POST)


async def draft_reply(deps: Deps, brand: str, message: str, posture: str) -> Draft:
    """A draft for a message, read and decided like any message before it is given.

    Raises:
        NotFound: the message was never decided.
        FailedPrecondition: (MESSAGE_GONE) it was deleted or erased.
        Unavailable: classify or the database does not answer.
    """
    async with deps.db.read() as conn:
        newest = await store.page_of_message(conn, (brand, message), None, 1)
        if not newest:
            raise not_found(MESSAGE.format(brand, message))
        (decision,) = newest
        key = (brand, message, decision.edit_revision)
        stored = (await store.read_texts(conn, [key]))[key]
        charter = await deps.shelf.one_in_force(conn, brand)
    if stored.message.gone:
        raise FailedPrecondition("The message is gone: nobody is left to answer.", reason=Reason.MESSAGE_GONE)
    channel = stored.channel or Channel(brand, decision.channel, *_UNKNOWN_PLACE)
    asked = Asked(
        stored.message.text,
        stored.message.language,
        channel.audience,
        decision.ruling.visibility,
        stored.assessment,
    )
    wished = posture or decision.ruling.reply_posture
    found = draft(scenarios(), asked, wished, charter.charter.language)
    if not found.text:
        return found
    private = channel.audience is Audience.PRIVATE
    ((reading, _),) = await deps.reader.read(brand, [found.text], found.language, private=private, explain=False)
    if would_be(deps, charter, channel, found.text, reading).visibility > Visibility.KEEP:
        return replace(found, text="", scenario="", note=DraftNote.WOULD_NOT_SHOW)
    return found
