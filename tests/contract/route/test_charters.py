"""CharterService: versions that never change, one in force."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from apaise.route.v1 import charter_service_pb2 as charters
from apaise.route.v1 import decision_pb2 as pb
from apaise_kit.runtime.status import failure_of
from apaise_route.testing import input_pb, reading

STRICT = """\
name: strict
language: en
audit_share: 0
clauses:
  - id: no-praise
    when: yes.praise
    visibility: HIDE
    explain: {en: We hide praise}
"""
BROKEN = STRICT.replace("yes.praise", "yes.prais")


async def create(door: Any, brand: str, source: str = STRICT) -> charters.CreateCharterResponse:
    response: charters.CreateCharterResponse = await door.charter(actor="lea").CreateCharter(
        charters.CreateCharterRequest(parent=f"brands/{brand}", charter=charters.Charter(source=source))
    )
    return response


async def get(door: Any, name: str) -> charters.Charter:
    response: charters.GetCharterResponse = await door.charter().GetCharter(charters.GetCharterRequest(name=name))
    return response.charter


async def activate(door: Any, name: str, etag: str = "") -> charters.Charter:
    request = charters.ActivateCharterRequest(name=name, etag=etag)
    response: charters.ActivateCharterResponse = await door.charter().ActivateCharter(request)
    return response.charter


async def test_a_brand_without_one_lives_by_the_default(door: Any, brand: str) -> None:
    active = await get(door, f"brands/{brand}/charters/active")
    assert (active.name, active.active) == ("defaults/charters/1", True)
    (decision,) = await door.decide(input_pb(brand, "x", reading(["praise"])))
    assert decision.charter_digest == active.digest


async def test_a_version_decides_once_it_is_in_force(door: Any, brand: str) -> None:
    created = (await create(door, brand)).charter
    assert (created.name, created.active, created.create_actor) == (f"brands/{brand}/charters/1", False, "lea")
    (before,) = await door.decide(input_pb(brand, "x1", reading(["praise"])))
    assert before.visibility == pb.VISIBILITY_KEEP
    assert (await activate(door, created.name)).active
    (after,) = await door.decide(input_pb(brand, "x2", reading(["praise"])))
    assert (after.visibility, after.charter, after.clause) == (pb.VISIBILITY_HIDE, created.name, "no-praise")
    assert after.explanation == "We hide praise (0.90): hidden."
    assert (await get(door, f"brands/{brand}/charters/active")).name == created.name


async def test_the_same_text_is_the_same_version(door: Any, brand: str) -> None:
    first, again = await create(door, brand), await create(door, brand)
    assert first.charter == again.charter
    other = await create(door, brand, STRICT.replace("name: strict", "name: other"))
    assert other.charter.name == f"brands/{brand}/charters/2"
    listed = await door.charter().ListCharters(charters.ListChartersRequest(parent=f"brands/{brand}", page_size=1))
    assert [charter.name for charter in listed.charters] == [other.charter.name]
    rest = await door.charter().ListCharters(
        charters.ListChartersRequest(parent=f"brands/{brand}", page_token=listed.next_page_token)
    )
    assert [charter.name for charter in rest.charters] == [first.charter.name]
    assert rest.next_page_token == ""


async def test_a_text_that_does_not_compile_is_refused_line_by_line(door: Any, brand: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(door, brand, BROKEN)
    failure = failure_of(refused.value)
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CHARTER_INVALID")
    assert [(v.field, "did you mean `praise`?" in v.description) for v in failure.violations] == [
        ("charter.source:6", True)
    ]


async def test_lint_tells_and_keeps_nothing(door: Any, brand: str) -> None:
    request = charters.LintCharterRequest(parent=f"brands/{brand}", source=BROKEN)
    problems = (await door.charter().LintCharter(request)).problems
    assert [(p.severity, p.line) for p in problems] == [(charters.CharterProblem.SEVERITY_ERROR, 6)]
    listed = await door.charter().ListCharters(charters.ListChartersRequest(parent=f"brands/{brand}"))
    assert list(listed.charters) == []


async def test_an_activation_on_an_old_etag_is_refused(door: Any, brand: str) -> None:
    first = (await create(door, brand)).charter
    second = (await create(door, brand, STRICT.replace("name: strict", "name: other"))).charter
    active = await get(door, f"brands/{brand}/charters/active")
    await activate(door, first.name, active.etag)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await activate(door, second.name, active.etag)
    assert (refused.value.code(), failure_of(refused.value).reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    assert not (await get(door, second.name)).active


@pytest.mark.parametrize("version", ["7", "0", "abc", "99999999999999", "active"])
async def test_a_version_that_does_not_exist(door: Any, brand: str, version: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await activate(door, f"brands/{brand}/charters/{version}")
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
