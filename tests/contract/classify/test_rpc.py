"""Every RPC over a real socket, with every interceptor, the fake engine and a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio
import sqlalchemy as sa

from apaise.classify.v1 import classify_service_pb2 as pb
from apaise.classify.v1.classify_service_pb2_grpc import ClassifyServiceStub, add_ClassifyServiceServicer_to_server
from apaise.type.v1 import assessment_pb2
from apaise_classify.adapters.tables import metadata
from apaise_classify.domain.adapters import Revision
from apaise_classify.testing import LABELS, TinyHouse
from apaise_classify.transport.servicer import SERVICE, ClassifyServicer
from apaise_kit.core.caller import acting_as, system_caller
from apaise_kit.core.labels import LABEL_SET
from apaise_kit.runtime.server import Service
from apaise_kit.runtime.status import failure_of, failure_of_status
from apaise_kit.testing.server import Running, running
from mlops.base.normalize import NORMALIZER

from .conftest import Mesh, start

if TYPE_CHECKING:
    from apaise.classify.v1.classify_service_pb2_grpc import ClassifyServiceAsyncStub

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Up:
    mesh: Mesh
    server: Running

    def stub(self, *roles: str, brands: tuple[str, ...] = ("*",)) -> Any:
        return ClassifyServiceStub(self.server.channel(roles=roles or ("service",), brands=brands))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def up(postgres_server: Any, tiny: TinyHouse, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    root = tmp_path_factory.mktemp("adapters")
    async with start("fake", postgres_server.fresh_database(), tiny, root) as mesh:
        servicer = ClassifyServicer(mesh.reader, mesh.store, mesh.store.precedents(per_brand=5))
        async with running(Service(add_ClassifyServiceServicer_to_server, servicer, SERVICE)) as server:
            yield Up(mesh, server)


def message(revision: Revision) -> pb.Adapter:
    return pb.Adapter(
        name=f"brands/{revision.brand}/adapters/{revision.id}",
        artifact_uri=revision.artifact_uri,
        digest=revision.digest,
        encoder=revision.encoder,
    )


def request(revision: Revision) -> pb.ActivateAdapterRequest:
    return pb.ActivateAdapterRequest(adapter=message(revision), request_id="a request")


def one(brand: str, text: str, **more: Any) -> pb.Input:
    return pb.Input(brand=f"brands/{brand}", text=text, **more)


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    failure = failure_of(caught.value)
    return failure.code, failure.reason


async def test_classify_names_everything_that_made_the_answer(up: Up) -> None:
    response = await up.stub().Classify(pb.ClassifyRequest(input=one("acme-house", "bonjour", language="fr")))
    assessment = response.assessment
    assert set(assessment.labels) == set(LABELS) <= LABEL_SET
    assert assessment.language == "fr"
    assert assessment.fallback
    assert assessment.fallback_reason == assessment_pb2.FALLBACK_REASON_NO_ADAPTER
    assert assessment.provenance == assessment_pb2.Provenance(
        encoder=up.mesh.house.encoder_digest,
        adapter="house",
        thresholds="fake-thresholds",
        normalizer=NORMALIZER,
        precedents="none",
    )
    for score in assessment.labels.values():
        assert round(score.probability, 3) == score.probability
        expected = (
            assessment_pb2.VERDICT_YES
            if score.probability >= 0.6
            else assessment_pb2.VERDICT_NO
            if score.probability <= 0.4
            else assessment_pb2.VERDICT_UNSURE
        )
        assert score.verdict == expected


async def test_an_unknown_language_is_und_and_a_long_text_says_so(up: Up) -> None:
    response = await up.stub().Classify(pb.ClassifyRequest(input=one("a", "word " * 1000)))
    assert response.assessment.language == "und"
    assert response.assessment.truncated


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (pb.Input(brand="brands/a", text=""), "EMPTY_MESSAGE"),
        (pb.Input(brand="brands/a", text="é" * 16_385), "TEXT_TOO_LONG"),
        (pb.Input(brand="brands/a", text="a", context=pb.Context(post_text="x" * 40_000)), "TEXT_TOO_LONG"),
        (pb.Input(brand="a", text="a"), "INVALID_FIELD"),
        (pb.Input(text="a"), "INVALID_FIELD"),
        (pb.Input(brand="brands/-", text="a"), "INVALID_FIELD"),
        (pb.Input(brand="brands/a", text="a", language="français"), "INVALID_FIELD"),
    ],
)
async def test_a_bad_input_is_refused_alone(up: Up, bad: pb.Input, reason: str) -> None:
    stub = up.stub()
    assert await refused(stub.Classify(pb.ClassifyRequest(input=bad))) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    response = await stub.BatchClassify(pb.BatchClassifyRequest(inputs=[one("a", "ok"), bad, one("b", "ok too")]))
    first, second, third = response.results
    failure = failure_of_status(second.status)
    assert failure is not None
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert failure.violations[0].field.startswith("inputs[1].")
    assert not second.HasField("assessment")
    assert first.status.code == third.status.code == 0
    assert first.assessment.labels
    assert third.assessment.labels


@pytest.mark.parametrize("text", ["😀", "\u0000\u0007", " ", "é" * 16_384])
async def test_odd_texts_go_through(up: Up, text: str) -> None:
    assert (await up.stub().Classify(pb.ClassifyRequest(input=one("a", text)))).assessment.labels


async def test_a_batch_keeps_its_order_and_answers_as_single_calls_do(up: Up) -> None:
    stub = up.stub()
    inputs = [one(f"brand-{n % 5}", f"text {n}") for n in range(50)]
    batch = await stub.BatchClassify(pb.BatchClassifyRequest(inputs=inputs))
    for given, result in list(zip(inputs, batch.results, strict=True))[::7]:
        single = await stub.Classify(pb.ClassifyRequest(input=given))
        assert single.assessment == result.assessment


async def test_limits_of_a_batch(up: Up) -> None:
    stub = up.stub()
    many = pb.BatchClassifyRequest(inputs=[one("a", "x")] * 501)
    heavy = pb.BatchClassifyRequest(inputs=[one("a", "x" * 32_000)] * 120)
    none = pb.BatchClassifyRequest()
    assert await refused(stub.BatchClassify(many)) == (grpc.StatusCode.INVALID_ARGUMENT, "BATCH_TOO_LARGE")
    assert await refused(stub.BatchClassify(heavy)) == (grpc.StatusCode.INVALID_ARGUMENT, "BATCH_TOO_LARGE")
    assert await refused(stub.BatchClassify(none)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    full = await stub.BatchClassify(pb.BatchClassifyRequest(inputs=[one("a", "x")] * 500))
    assert len(full.results) == 500
    assert await refused(stub.Embed(pb.EmbedRequest())) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    too_many = pb.EmbedRequest(texts=["a"] * 501)
    assert await refused(stub.Embed(too_many)) == (grpc.StatusCode.INVALID_ARGUMENT, "BATCH_TOO_LARGE")
    hollow = pb.EmbedRequest(texts=["a", ""])
    assert await refused(stub.Embed(hollow)) == (grpc.StatusCode.INVALID_ARGUMENT, "EMPTY_MESSAGE")


async def test_embed(up: Up) -> None:
    response = await up.stub().Embed(pb.EmbedRequest(texts=["one", "two"]))
    assert response.encoder == up.mesh.house.encoder_digest
    assert [sum(v * v for v in e.values) for e in response.embeddings] == pytest.approx([1, 1], abs=1e-5)


async def test_the_life_of_an_adapter(up: Up) -> None:
    stub = up.stub()
    before = (await stub.Classify(pb.ClassifyRequest(input=one("acme", "hello")))).assessment
    first = up.mesh.adapter("acme", "r1")
    activated = (await stub.ActivateAdapter(request(first))).adapter
    assert (activated.name, activated.state) == ("brands/acme/adapters/r1", pb.ADAPTER_STATE_ACTIVE)
    assert activated.generation == 1
    assert activated.HasField("activate_time")
    after = (await stub.Classify(pb.ClassifyRequest(input=one("acme", "hello")))).assessment
    assert (after.provenance.adapter, after.fallback) == ("r1", False)
    assert after.labels != before.labels

    again = (await stub.ActivateAdapter(request(first))).adapter
    assert again == activated, "activating what serves changes nothing"

    second = up.mesh.adapter("acme", "r2", seed=2)
    assert (await stub.ActivateAdapter(request(second))).adapter.generation == 2
    get = pb.GetAdapterRequest(name="brands/acme/adapters/r1")
    assert (await stub.GetAdapter(get)).adapter.state == pb.ADAPTER_STATE_RETIRED

    back = pb.RollbackAdapterRequest(parent="brands/acme", adapter="brands/acme/adapters/r1")
    assert (await stub.RollbackAdapter(back)).adapter.state == pb.ADAPTER_STATE_ACTIVE
    home = await stub.RollbackAdapter(pb.RollbackAdapterRequest(parent="brands/acme"))
    assert not home.HasField("adapter")
    last = (await stub.Classify(pb.ClassifyRequest(input=one("acme", "hello")))).assessment
    assert last == before


async def test_refusals_of_an_activation(up: Up) -> None:
    stub = up.stub()
    good = up.mesh.adapter("strict", "r1")
    await stub.ActivateAdapter(request(good))
    other = up.mesh.adapter("strict", "r1", seed=9)
    assert await refused(stub.ActivateAdapter(request(other))) == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")
    corrupt = up.mesh.adapter("strict", "r2", seed=2)
    (Path(corrupt.artifact_uri) / "apaise.json").write_text("{}")
    failed = (grpc.StatusCode.FAILED_PRECONDITION, "ADAPTER_CORRUPT")
    assert await refused(stub.ActivateAdapter(request(corrupt))) == failed
    shown = (await stub.GetAdapter(pb.GetAdapterRequest(name="brands/strict/adapters/r2"))).adapter
    assert (shown.state, shown.failure) == (pb.ADAPTER_STATE_FAILED, "ADAPTER_CORRUPT")
    foreign = up.mesh.adapter("strict", "r3", seed=3, encoder_digest="b" * 64)
    failed = (grpc.StatusCode.FAILED_PRECONDITION, "ADAPTER_WRONG_ENCODER")
    assert await refused(stub.ActivateAdapter(request(foreign))) == failed
    never = pb.RollbackAdapterRequest(parent="brands/strict", adapter="brands/strict/adapters/r3")
    assert await refused(stub.RollbackAdapter(never)) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    reading = (await stub.Classify(pb.ClassifyRequest(input=one("strict", "hello")))).assessment
    assert reading.provenance.adapter == "r1"
    # Published again, whole this time: an id that never served may be mended.
    mended = up.mesh.adapter("strict", "r2", seed=4)
    assert (await stub.ActivateAdapter(request(mended))).adapter.state == pb.ADAPTER_STATE_ACTIVE


@pytest.mark.parametrize(
    "change",
    [
        {"name": "brands/acme/adapters/with.dots"},
        {"name": "acme"},
        {"artifact_uri": ""},
        {"digest": "abc"},
        {"encoder": ""},
    ],
)
async def test_a_malformed_activation(up: Up, change: dict[str, str]) -> None:
    adapter = pb.Adapter(name="brands/acme/adapters/r9", artifact_uri="/x", digest="0" * 64, encoder="e")
    for field, value in change.items():
        setattr(adapter, field, value)
    call = up.stub().ActivateAdapter(pb.ActivateAdapterRequest(adapter=adapter))
    assert await refused(call) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


async def test_listing_pages_through_everything_once(up: Up) -> None:
    stub = up.stub()
    for n in range(5):
        await stub.ActivateAdapter(request(up.mesh.adapter("paged", f"r{n}", seed=n)))
    names: list[str] = []
    token = ""
    while True:
        page = await stub.ListAdapters(pb.ListAdaptersRequest(parent="brands/paged", page_size=2, page_token=token))
        names += [adapter.name for adapter in page.adapters]
        token = page.next_page_token
        if not token:
            break
    assert names == [f"brands/paged/adapters/r{n}" for n in (4, 3, 2, 1, 0)]
    first = await stub.ListAdapters(pb.ListAdaptersRequest(parent="brands/paged", page_size=2))
    stolen = pb.ListAdaptersRequest(parent="brands/acme", page_token=first.next_page_token)
    assert await refused(stub.ListAdapters(stolen)) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_CURSOR")
    huge = pb.ListAdaptersRequest(parent="brands/paged", page_size=501)
    assert await refused(stub.ListAdapters(huge)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


async def test_another_brands_things_do_not_exist(up: Up) -> None:
    await up.stub().ActivateAdapter(request(up.mesh.adapter("theirs", "r1")))
    stub = up.stub(brands=("mine",))
    name = "brands/theirs/adapters/r1"
    calls = {
        "Classify": pb.ClassifyRequest(input=one("theirs", "hello")),
        "ActivateAdapter": request(Revision("theirs", "r1", "/x", "0" * 64, "e")),
        "RollbackAdapter": pb.RollbackAdapterRequest(parent="brands/theirs"),
        "GetAdapter": pb.GetAdapterRequest(name=name),
        "ListAdapters": pb.ListAdaptersRequest(parent="brands/theirs"),
        "SetCanary": pb.SetCanaryRequest(parent="brands/theirs"),
        "GetCanary": pb.GetCanaryRequest(parent="brands/theirs"),
        "PutPrecedents": pb.PutPrecedentsRequest(parent="brands/theirs", precedents=[precedent("theirs", 1, "a")]),
        "DeletePrecedents": pb.DeletePrecedentsRequest(parent="brands/theirs", names=["brands/theirs/precedents/r1"]),
    }
    for method, message in calls.items():
        seen = await refused(getattr(stub, method)(message))
        assert seen == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND"), method
    mixed = pb.BatchClassifyRequest(inputs=[one("mine", "hello"), one("theirs", "hello")])
    mine, theirs = (await stub.BatchClassify(mixed)).results
    assert mine.status.code == 0
    assert theirs.status.code == grpc.StatusCode.NOT_FOUND.value[0]
    assert not theirs.HasField("assessment")
    covered = {*calls, "BatchClassify", "Embed"}  # Embed knows no brand
    assert covered == {method.name for method in pb.DESCRIPTOR.services_by_name["ClassifyService"].methods}
    sideways = pb.RollbackAdapterRequest(parent="brands/mine", adapter=name)
    assert await refused(stub.RollbackAdapter(sideways)) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    # The words of a missing thing and of another brand's thing are the same.
    there = await _details(stub.GetAdapter(pb.GetAdapterRequest(name=name)))
    missing = await _details(stub.GetAdapter(pb.GetAdapterRequest(name="brands/mine/adapters/r1")))
    assert there.replace("theirs", "mine") == missing


def precedent(brand: str, number: int, text: str, remove: bool = False, **more: Any) -> pb.Precedent:
    made = pb.Precedent(
        name=f"brands/{brand}/precedents/r{number}",
        message=f"brands/{brand}/messages/m{number}",
        author_key="key",
        text=text,
        labels={"remove": remove, **more.pop("labels", {})},
        **more,
    )
    made.review_time.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number))
    return made


async def put(up: Up, brand: str, *given: pb.Precedent) -> pb.PutPrecedentsResponse:
    stub: ClassifyServiceAsyncStub = up.stub()
    return await stub.PutPrecedents(pb.PutPrecedentsRequest(parent=f"brands/{brand}", precedents=given))


async def take_back(up: Up, brand: str, *numbers: int) -> pb.DeletePrecedentsResponse:
    names = [f"brands/{brand}/precedents/r{number}" for number in numbers]
    stub: ClassifyServiceAsyncStub = up.stub()
    return await stub.DeletePrecedents(pb.DeletePrecedentsRequest(parent=f"brands/{brand}", names=names))


async def read_at(up: Up, brand: str, revision: str, text: str, **more: Any) -> assessment_pb2.Assessment:
    """What a text is once the replicas have that precedent set: within two seconds, or the test fails."""
    stub: ClassifyServiceAsyncStub = up.stub()
    async with asyncio.timeout(2):
        while True:
            response = await stub.Classify(pb.ClassifyRequest(input=one(brand, text, **more)))
            if response.assessment.provenance.precedents == revision:
                return response.assessment
            await asyncio.sleep(0.02)


async def surely(up: Up, brand: str, **labels: bool) -> tuple[str, assessment_pb2.Assessment]:
    """A text the model is sure of in this way."""
    wanted = {
        name: assessment_pb2.VERDICT_YES if applies else assessment_pb2.VERDICT_NO for name, applies in labels.items()
    }
    for number in range(1000):
        text = f"phrase {number}"
        seen = (await up.stub().Classify(pb.ClassifyRequest(input=one(brand, text)))).assessment
        if all(seen.labels[name].verdict == verdict for name, verdict in wanted.items()):
            return text, seen
    raise AssertionError("the fake engine has no such text")


async def test_a_precedent_decides_its_near_duplicate_until_it_is_taken_back(up: Up) -> None:
    text, before = await surely(up, "keen", remove=True, complaint=False)
    other = False
    made = await put(up, "keen", precedent("keen", 1, text.upper(), other))
    assert made.encoder == up.mesh.house.encoder_digest
    after = await read_at(up, "keen", made.revision, text)
    score = after.labels["remove"]
    assert (score.holds, score.model_probability) == (other, before.labels["remove"].probability)
    assert score.verdict == assessment_pb2.VERDICT_NO
    (cited,) = after.precedents
    assert (cited.review, cited.similarity) == ("brands/keen/reviews/r1", 1.0)
    assert dict(cited.labels) == {"remove": other}
    unlike = await read_at(up, "keen", made.revision, "tout autre chose")
    assert not unlike.precedents
    assert not any(each.HasField("model_probability") for each in unlike.labels.values())
    gone = await take_back(up, "keen", 1)
    assert await read_at(up, "keen", "none", text) == before
    assert gone.revision != made.revision


async def test_precedents_of_one_brand_say_nothing_to_another(up: Up) -> None:
    made = await put(up, "ours", precedent("ours", 1, "nous seuls"))
    assert (await read_at(up, "ours", made.revision, "nous seuls")).precedents
    assert not (await read_at(up, "yours", "none", "nous seuls")).precedents


async def test_what_was_written_in_private_decides_nothing_public(up: Up) -> None:
    made = await put(up, "discreet", precedent("discreet", 1, "entre nous", private=True))
    assert (await read_at(up, "discreet", made.revision, "entre nous", private=True)).precedents
    assert not (await read_at(up, "discreet", made.revision, "entre nous")).precedents
    made = await put(up, "discreet", precedent("discreet", 2, "devant tous"))
    assert (await read_at(up, "discreet", made.revision, "devant tous", private=True)).precedents


async def test_precedents_that_disagree_have_a_person_look(up: Up) -> None:
    made = await put(up, "torn", precedent("torn", 1, "bof", True), precedent("torn", 2, "BOF", False))
    seen = await read_at(up, "torn", made.revision, "bof")
    assert seen.labels["remove"].verdict == assessment_pb2.VERDICT_UNSURE
    assert [each.review for each in seen.precedents] == ["brands/torn/reviews/r1", "brands/torn/reviews/r2"]


async def test_a_brand_has_so_many_precedents_and_the_oldest_give_way(up: Up) -> None:
    await put(up, "full", *(precedent("full", n, f"text {n}") for n in range(4)))
    made = await put(up, "full", *(precedent("full", n, f"text {n}") for n in range(4, 7)))
    cited = [bool((await read_at(up, "full", made.revision, f"text {n}")).precedents) for n in range(7)]
    assert cited == [False, False, True, True, True, True, True]


async def test_a_precedent_put_again_is_replaced_and_an_unknown_one_taken_back_is_no_error(up: Up) -> None:
    await put(up, "again", precedent("again", 1, "encore", True))
    made = await put(up, "again", precedent("again", 1, "encore", False))
    (cited,) = (await read_at(up, "again", made.revision, "encore")).precedents
    assert dict(cited.labels) == {"remove": False}
    gone = await take_back(up, "again", 9)
    assert (await read_at(up, "again", gone.revision, "encore")).precedents


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"text": ""}, "EMPTY_MESSAGE"),
        ({"name": "brands/other/precedents/r1"}, "INVALID_FIELD"),
        ({"message": "brands/other/messages/m1"}, "INVALID_FIELD"),
        ({"name": "r1"}, "INVALID_FIELD"),
    ],
)
async def test_a_malformed_precedent_is_refused(up: Up, changes: dict[str, str], reason: str) -> None:
    bad = precedent("sound", 1, "texte")
    for field, value in changes.items():
        setattr(bad, field, value)
    assert await refused(put(up, "sound", bad)) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    wordless, strange = precedent("sound", 1, "a"), precedent("sound", 1, "a", labels={"no_such_label": True})
    del wordless.labels["remove"]
    timeless = precedent("sound", 1, "a")
    timeless.ClearField("review_time")
    for wrong in (wordless, strange, timeless):
        assert await refused(put(up, "sound", wrong)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert await refused(take_back(up, "sound")) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


async def test_no_text_of_a_precedent_is_kept(up: Up) -> None:
    await put(up, "silent", precedent("silent", 1, "canari bleu"))
    async with up.mesh.store._db.read() as conn:
        for table in metadata.tables.values():
            dump = await conn.scalar(sa.text(f"select coalesce(string_agg(t::text, ''), '') from {table.name} t"))
            assert "canari" not in str(dump)


def canary(revision: Revision, share: float) -> pb.SetCanaryRequest:
    return pb.SetCanaryRequest(parent=f"brands/{revision.brand}", adapter=message(revision), share=share)


async def readers(up: Up, brand: str, count: int = 400) -> dict[str, str]:
    """By text, the revision that read it."""
    texts = [f"texte {number}" for number in range(count)]
    response = await up.stub().BatchClassify(pb.BatchClassifyRequest(inputs=[one(brand, text) for text in texts]))
    return {text: result.assessment.provenance.adapter for text, result in zip(texts, response.results, strict=True)}


async def test_a_canary_reads_its_share_always_the_same_messages_until_it_is_ended(up: Up) -> None:
    await up.stub().ActivateAdapter(request(up.mesh.adapter("mine", "r1")))
    trial = up.mesh.adapter("mine", "r2", seed=2)
    first = await up.stub().SetCanary(canary(trial, 0.25))
    assert (await up.stub().SetCanary(canary(trial, 0.25))).generation == first.generation
    seen = await readers(up, "mine")
    assert 60 <= list(seen.values()).count("r2") <= 140, "400 texts, a quarter, give or take five deviations"
    assert set(seen.values()) == {"r1", "r2"}
    assert await readers(up, "mine") == seen
    more = await up.stub().SetCanary(canary(trial, 0.5))
    assert more.generation > first.generation

    async def settled(wanted: float) -> dict[str, str]:
        async with asyncio.timeout(5):
            while True:
                wider = await readers(up, "mine")
                if abs(list(wider.values()).count("r2") / len(wider) - wanted) <= 0.2 * wanted:
                    return wider
                await asyncio.sleep(0.05)

    wider = await settled(0.5)
    assert all(wider[text] == "r2" for text, revision in seen.items() if revision == "r2"), "a larger share adds"
    await up.stub().SetCanary(pb.SetCanaryRequest(parent="brands/mine"))
    assert set((await settled(0.0)).values()) == {"r1"}


async def test_a_canary_of_a_brand_that_the_house_reads(up: Up) -> None:
    await up.stub().SetCanary(canary(up.mesh.adapter("fresh", "r1"), 0.5))
    assert set((await readers(up, "fresh", 100)).values()) == {"house", "r1"}


async def test_a_canary_that_cannot_be_loaded_is_refused_and_reads_nothing(up: Up) -> None:
    bad = up.mesh.adapter("wary", "r1")
    (Path(bad.artifact_uri) / "apaise.json").write_text("{}")
    failed = (grpc.StatusCode.FAILED_PRECONDITION, "ADAPTER_CORRUPT")
    assert await refused(up.stub().SetCanary(canary(bad, 0.5))) == failed
    assert set((await readers(up, "wary", 50)).values()) == {"house"}


@pytest.mark.parametrize("share", [0.0, -0.1, 0.51, float("nan")])
async def test_a_canary_has_a_share_within_bounds_and_is_its_own_brands(up: Up, share: float) -> None:
    revision = Revision("bound", "r1", "/x", "0" * 64, "e")
    invalid = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert await refused(up.stub().SetCanary(canary(revision, share))) == invalid
    foreign = pb.SetCanaryRequest(parent="brands/another", adapter=message(revision), share=0.1)
    assert await refused(up.stub().SetCanary(foreign)) == invalid


async def _details(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return str(caught.value.details())


async def test_roles(up: Up) -> None:
    moderator = up.stub("moderator")
    assert (await moderator.Classify(pb.ClassifyRequest(input=one("a", "hello")))).assessment.labels
    for call in (
        moderator.Embed(pb.EmbedRequest(texts=["a"])),
        moderator.ActivateAdapter(pb.ActivateAdapterRequest()),
        moderator.RollbackAdapter(pb.RollbackAdapterRequest()),
        moderator.ListAdapters(pb.ListAdaptersRequest()),
        moderator.SetCanary(pb.SetCanaryRequest()),
        moderator.PutPrecedents(pb.PutPrecedentsRequest()),
        moderator.DeletePrecedents(pb.DeletePrecedentsRequest()),
    ):
        assert await refused(call) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING")


async def test_a_wish_whose_front_died_is_settled_without_it(up: Up) -> None:
    from apaise_classify.app import settle_forgotten

    with acting_as(system_caller("a front that dies once its wish is written")):
        await up.mesh.store.wish(up.mesh.adapter("late", "r1"), "a request")
    stub, get = up.stub(), pb.GetAdapterRequest(name="brands/late/adapters/r1")
    sweep = asyncio.create_task(settle_forgotten(up.mesh.store))
    try:
        async with asyncio.timeout(10):
            while (await stub.GetAdapter(get)).adapter.state != pb.ADAPTER_STATE_ACTIVE:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        sweep.cancel()
