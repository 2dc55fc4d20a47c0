"""PreflightService: asked before posting; nothing is kept."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
import sqlalchemy as sa

from apaise.route.v1 import charter_service_pb2 as charters
from apaise.route.v1 import decision_pb2
from apaise.route.v1 import preflight_service_pb2 as pb
from apaise_kit.runtime.status import failure_of
from apaise_route.adapters.tables import metadata

CHARTER = """\
name: t
language: fr
audit_share: 1
clauses:
  - id: insult
    when: yes.insult
    visibility: HIDE
    explain: {fr: Insulte, en: Insult}
"""


async def asked(door: Any, brand: str, text: str, **fields: Any) -> pb.PreflightMessageResponse:
    request = pb.PreflightMessageRequest(parent=f"brands/{brand}", text=text, **fields)
    response: pb.PreflightMessageResponse = await door.preflight().PreflightMessage(request)
    return response


@pytest.fixture
async def strict(clocked: Any, brand: str) -> Any:
    """A brand that hides insults, and a model that finds them by their words."""
    stub = clocked.charter()
    given = charters.Charter(source=CHARTER)
    made = await stub.CreateCharter(charters.CreateCharterRequest(parent=f"brands/{brand}", charter=given))
    await stub.ActivateCharter(charters.ActivateCharterRequest(name=made.charter.name))
    clocked.words.words = {"crétins": "insult", "nul": "anger"}
    return clocked


async def test_what_would_show_passes_and_needs_no_other_words(strict: Any, brand: str) -> None:
    found = await asked(strict, brand, "votre service est nul")
    assert (found.passes, found.visibility, list(found.proposals)) == (True, decision_pb2.VISIBILITY_KEEP, [])
    assert strict.words.asked == ["votre service est nul"]


async def test_what_would_be_hidden_is_said_otherwise(strict: Any, brand: str) -> None:
    text = "Rendez l'argent, crétins"
    found = await asked(strict, brand, text, language="fr")
    assert (found.passes, found.visibility, found.clause) == (False, decision_pb2.VISIBILITY_HIDE, "insult")
    assert found.explanation.startswith("Insulte")
    assert [text[span.start : span.end] for span in found.spans] == ["crétins"]
    assert list(found.proposals) == ["Rendez l'argent", "Je suis en colère : rendez l'argent"]


async def test_only_what_truly_passes_is_proposed(strict: Any, brand: str) -> None:
    strict.words.words |= {"colère": "insult"}
    found = await asked(strict, brand, "Rendez l'argent, crétins", language="fr")
    assert list(found.proposals) == ["Rendez l'argent"]
    strict.words.words |= {"argent": "insult"}
    assert list((await asked(strict, brand, "Rendez l'argent, crétins", language="fr")).proposals) == []


async def test_nothing_is_kept(strict: Any, brand: str) -> None:
    before = await strict.deps.db.last_sequence()
    await asked(strict, brand, "canari crétins canari")
    assert await strict.deps.db.last_sequence() == before
    async with strict.deps.db.read() as conn:
        for table in metadata.tables.values():
            query = f"select coalesce(string_agg(t::text, ''), '') from {table.name} t"
            assert "canari" not in str(await conn.scalar(sa.text(query)))


@pytest.mark.parametrize(
    ("text", "reason"), [("", "EMPTY_MESSAGE"), (" ", "EMPTY_MESSAGE"), ("é" * 2049, "TEXT_TOO_LONG")]
)
async def test_what_cannot_be_read(clocked: Any, brand: str, text: str, reason: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await asked(clocked, brand, text)
    assert failure_of(refused.value).reason == reason
