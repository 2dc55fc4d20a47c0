"""A message that is owed a reply, as it is kept now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from apaise_kit.core.errors import FailedPrecondition, Reason, not_found
from apaise_kit.core.names import MESSAGE
from apaise_route.adapters import store
from apaise_route.adapters.store import StoredText
from apaise_route.app.deps import Deps
from apaise_route.domain.charter import CompiledCharter
from apaise_route.domain.model import Audience, Channel, ChannelKind, Decision, Moderation
from apaise_route.domain.replies import Asked

_UNKNOWN_PLACE: Final = (ChannelKind.PRIVATE_MESSAGE, Audience.PRIVATE, Moderation.POST)


@dataclass(frozen=True, slots=True)
class Owed:
    """A message with its newest decision, its place and the charter in force."""

    asked: Asked
    decision: Decision
    stored: StoredText
    channel: Channel
    charter: CompiledCharter

    @property
    def language(self) -> str:
        """The message's; the charter's when nobody knows."""
        return self.charter.charter.language if self.asked.language in ("", "und") else self.asked.language


async def owed_a_reply(deps: Deps, conn: AsyncConnection, key: tuple[str, str]) -> Owed:
    """A message by brand and id.

    Raises:
        NotFound: it was never decided.
        FailedPrecondition: (MESSAGE_GONE) it was deleted or erased.
    """
    newest = await store.page_of_message(conn, key, None, 1)
    if not newest:
        raise not_found(MESSAGE.format(*key))
    (decision,) = newest
    revision = (*key, decision.edit_revision)
    stored = (await store.read_texts(conn, [revision]))[revision]
    if stored.message.gone:
        raise FailedPrecondition("The message is gone: nobody is left to answer.", reason=Reason.MESSAGE_GONE)
    channel = stored.channel or Channel(key[0], decision.channel, *_UNKNOWN_PLACE)
    said, language = stored.message.text, stored.message.language
    asked = Asked(said, language, channel.audience, decision.ruling.visibility, stored.assessment)
    return Owed(asked, decision, stored, channel, await deps.shelf.one_in_force(conn, key[0]))
