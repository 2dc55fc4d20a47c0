"""The Reader port: one suite, over the fake and over the real engine, in process and in Ray Serve."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from apaise_classify.adapters.serve import ServeReader
from apaise_classify.app import activate_adapter, rollback_adapter
from apaise_classify.domain.adapters import AdapterState
from apaise_classify.domain.reading import HOUSE, Fallback, Row, holding
from apaise_classify.testing import LABELS, TinyHouse, reference
from apaise_kit.core.caller import acting_as, system_caller
from apaise_kit.core.errors import FailedPrecondition, Reason
from mlops.base.normalize import NORMALIZER

from .conftest import Mesh, start

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["fake", "local", "serve"])
async def mesh(
    request: pytest.FixtureRequest, postgres_server: Any, tiny: TinyHouse, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Mesh]:
    root = tmp_path_factory.mktemp(f"adapters-{request.param}")
    async with start(request.param, postgres_server.fresh_database(), tiny, root) as up:
        with acting_as(system_caller("test")):
            yield up


@pytest.fixture(autouse=True)
def _caller() -> Any:
    with acting_as(system_caller("test")):
        yield


async def test_a_brand_without_an_adapter_is_read_by_the_house_and_says_so(mesh: Mesh) -> None:
    (reading,) = await mesh.reader.read([Row("nobody", "bonjour")])
    assert reading.edition.revision == HOUSE
    assert reading.fallback is Fallback.NO_ADAPTER
    assert reading.edition.labels == LABELS
    assert reading.edition.encoder == mesh.house.encoder_digest
    assert reading.edition.normalizer == NORMALIZER
    assert len(reading.scores) == len(LABELS)
    assert all(0 <= score <= 1 and round(score, 3) == score for score in reading.scores)


async def test_the_same_text_gets_the_same_answer(mesh: Mesh) -> None:
    rows = [Row("nobody", f"message number {n % 3}") for n in range(30)]
    readings = await mesh.reader.read(rows)
    assert [reading.scores for reading in readings] == [readings[n % 3].scores for n in range(30)]
    assert len({reading.scores for reading in readings}) == 3


async def test_what_a_reader_does_not_see_changes_nothing(mesh: Mesh) -> None:
    plain, hidden = await mesh.reader.read([Row("a", "hello you"), Row("a", "he\u200bllo\u0007you")])
    assert plain.scores == hidden.scores


@pytest.mark.parametrize("text", ["😀", "\u0000\u0001\u0002", "\u200b", " ", "é à " * 4_000])
async def test_odd_texts_are_read(mesh: Mesh, text: str) -> None:
    (reading,) = await mesh.reader.read([Row("a", text)])
    assert len(reading.scores) == len(LABELS)
    assert reading.truncated == (len(text) > 1000)


async def test_embedding(mesh: Mesh) -> None:
    vectors = await mesh.reader.embed(["one", "two", "one"] * 5)
    assert vectors.encoder == mesh.house.encoder_digest
    assert len(vectors.values) == 15
    assert vectors.values[0] == pytest.approx(vectors.values[2], abs=1e-5)
    assert sum(value * value for value in vectors.values[0]) == pytest.approx(1, abs=1e-5)


async def test_a_brand_is_read_by_its_adapter_and_others_are_not(mesh: Mesh) -> None:
    revision = mesh.adapter("acme", "r1")
    adapter = await activate_adapter(mesh.store, mesh.reader, revision, "request-1")
    assert adapter.state is AdapterState.ACTIVE
    rows = [Row("acme", "hello there"), Row("globex", "hello there"), Row("acme", "bonjour")]
    mine, theirs, again = await mesh.reader.read(rows)
    assert (mine.edition.revision, mine.fallback) == ("r1", Fallback.NONE)
    assert mine.edition.thresholds_revision == "r1-thresholds"
    assert (theirs.edition.revision, theirs.fallback) == (HOUSE, Fallback.NO_ADAPTER)
    assert mine.scores != theirs.scores
    if mesh.real:
        expected = reference(mesh.house, Path(revision.artifact_uri), ["hello there", "bonjour"])
        assert mine.scores == pytest.approx(expected[0].tolist(), abs=6e-4)
        assert again.scores == pytest.approx(expected[1].tolist(), abs=6e-4)


async def test_a_refused_revision_leaves_the_previous_one_serving(mesh: Mesh) -> None:
    await activate_adapter(mesh.store, mesh.reader, mesh.adapter("brave", "r1"), "")
    before = await mesh.reader.read([Row("brave", "hello")])
    bad = mesh.adapter("brave", "r2", seed=2)
    (Path(bad.artifact_uri) / "heads.safetensors").write_bytes(b"")
    with pytest.raises(FailedPrecondition, match="still serves") as caught:
        await activate_adapter(mesh.store, mesh.reader, bad, "")
    assert caught.value.reason is Reason.ADAPTER_CORRUPT
    assert await mesh.reader.read([Row("brave", "hello")]) == before
    assert (await mesh.store.get("brave", "r1")).state is AdapterState.ACTIVE
    failed = await mesh.store.get("brave", "r2")
    assert (failed.state, failed.failure) == (AdapterState.FAILED, "ADAPTER_CORRUPT")


async def test_another_encoder_is_refused(mesh: Mesh) -> None:
    foreign = mesh.adapter("foreign", "r1", encoder_digest="b" * 64)
    with pytest.raises(FailedPrecondition, match="another encoder") as caught:
        await activate_adapter(mesh.store, mesh.reader, foreign, "")
    assert caught.value.reason is Reason.ADAPTER_WRONG_ENCODER
    (reading,) = await mesh.reader.read([Row("foreign", "hello")])
    assert reading.edition.revision == HOUSE


async def test_rollback_to_a_revision_and_to_the_house(mesh: Mesh) -> None:
    for n in (1, 2):
        await activate_adapter(mesh.store, mesh.reader, mesh.adapter("back", f"r{n}", seed=n), "")
    back = await rollback_adapter(mesh.store, mesh.reader, "back", "r1", "")
    assert back is not None
    assert back.state is AdapterState.ACTIVE
    assert (await mesh.store.get("back", "r2")).state is AdapterState.RETIRED
    (reading,) = await mesh.reader.read([Row("back", "hello")])
    assert reading.edition.revision == "r1"
    assert await rollback_adapter(mesh.store, mesh.reader, "back", None, "") is None
    (reading,) = await mesh.reader.read([Row("back", "hello")])
    assert (reading.edition.revision, reading.fallback) == (HOUSE, Fallback.NO_ADAPTER)


async def test_many_callers_at_once_get_their_own_answers(mesh: Mesh) -> None:
    texts = [f"text {n}" for n in range(40)]
    alone = dict(zip(texts, await mesh.reader.read([Row("a", text) for text in texts]), strict=True))
    calls = [mesh.reader.read([Row("a", text), Row("a", texts[0])]) for text in texts]
    for text, (first, second) in zip(texts, await asyncio.gather(*calls), strict=True):
        assert first.scores == pytest.approx(alone[text].scores, abs=0.0011)
        assert second.scores == pytest.approx(alone[texts[0]].scores, abs=0.0011)


async def test_a_cancelled_call_hinders_no_other(mesh: Mesh) -> None:
    doomed = [asyncio.create_task(mesh.reader.read([Row("a", f"doomed {n}")] * 20)) for n in range(5)]
    await asyncio.sleep(0)
    kept = asyncio.create_task(mesh.reader.read([Row("a", "kept")]))
    await asyncio.sleep(0)
    for task in doomed:
        task.cancel()
    assert len(await kept) == 1
    await asyncio.gather(*doomed, return_exceptions=True)
    assert all(task.cancelled() for task in doomed)


async def test_it_is_alive(mesh: Mesh) -> None:
    assert await mesh.reader.alive()


async def test_a_killed_replica_loses_no_call_and_comes_back_with_its_adapters(mesh: Mesh) -> None:
    if not isinstance(mesh.reader, ServeReader):
        pytest.skip("only Ray Serve has a process to kill")
    revision = mesh.adapter("phoenix", "r1", seed=5)
    await activate_adapter(mesh.store, mesh.reader, revision, "")
    _, pid = await mesh.reader._handle.identity.remote()
    calls = [asyncio.create_task(mesh.reader.read([Row("phoenix", f"text {n}")] * 4)) for n in range(20)]
    await asyncio.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    answers = await asyncio.gather(*calls)
    assert {reading.edition.revision for readings in answers for reading in readings} == {"r1"}
    _, other = await mesh.reader._handle.identity.remote()
    assert other != pid


async def test_a_second_front_joins_what_runs(mesh: Mesh) -> None:
    if not isinstance(mesh.reader, ServeReader):
        pytest.skip("only Ray Serve outlives its front")
    replica, _ = await mesh.reader._handle.identity.remote()
    second = ServeReader(mesh.reader._config, mesh.reader._options)
    await second.start()
    assert await second.alive()
    assert (await second._handle.identity.remote())[0] == replica


async def test_an_explanation_names_words_of_what_holds_and_changes_no_score(mesh: Mesh) -> None:
    text = "hello\u200b you, the   world is a c0nnard"
    plain, explained = await mesh.reader.read([Row("a", text), Row("a", text, explain=True)])
    assert plain.spans == ()
    assert explained.scores == plain.scores
    holds = set(holding(explained.edition, explained.scores))
    assert {span.label for span in explained.spans} <= holds
    assert all(0 <= span.start < span.end <= len(text) and 0 < span.weight <= 1 for span in explained.spans)


@pytest.mark.parametrize("text", ["😀", "\u0000", " ", "é à " * 4_000])
async def test_odd_texts_are_explained(mesh: Mesh, text: str) -> None:
    (reading,) = await mesh.reader.read([Row("a", text, explain=True)])
    assert all(0 <= span.start < span.end <= len(text) for span in reading.spans)


async def test_a_text_read_before_is_recalled_for_its_brand_and_audience_alone(mesh: Mesh) -> None:
    text = "a text nobody else wrote"
    (first,) = await mesh.reader.read([Row("a", text)])
    (again,) = await mesh.reader.read([Row("a", text + "\u200b")])
    elsewhere = await mesh.reader.read([Row("b", text), Row("a", text, private=True)])
    assert not first.recalled
    assert again.recalled
    assert not any(reading.recalled for reading in elsewhere)
    assert {reading.scores for reading in (again, *elsewhere)} == {first.scores}
