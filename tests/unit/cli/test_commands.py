"""Commands against a service that answers: what is asked, what is shown, how refusals read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from apaise.classify.v1 import classify_service_pb2 as classify_pb
from apaise.classify.v1 import classify_service_pb2_grpc as classify_rpc
from apaise.route.v1 import decision_pb2
from apaise.route.v1 import review_service_pb2 as review_pb
from apaise.route.v1 import review_service_pb2_grpc as review_rpc
from apaise.train.v1 import train_service_pb2 as train_pb
from apaise.train.v1 import train_service_pb2_grpc as train_rpc
from apaise.type.v1 import assessment_pb2
from apaise_cli.main import run
from apaise_kit.core.errors import Aborted, FailedPrecondition, InvalidArgument, Reason, Unavailable
from apaise_kit.runtime.server import Service
from apaise_kit.runtime.status import status_of, status_ok
from apaise_kit.testing import running

Context = grpc.aio.ServicerContext[Any, Any]
ITEM = "brands/demo/reviewItems/i1"


class Classify(classify_rpc.ClassifyServiceServicer):
    async def BatchClassify(
        self, request: classify_pb.BatchClassifyRequest, context: Context
    ) -> classify_pb.BatchClassifyResponse:
        return classify_pb.BatchClassifyResponse(results=[self._read(each) for each in request.inputs])

    def _read(self, given: classify_pb.Input) -> classify_pb.BatchClassifyResponse.Result:
        if not given.text.strip():
            refusal = InvalidArgument("The text is empty.", reason=Reason.EMPTY_MESSAGE)
            return classify_pb.BatchClassifyResponse.Result(status=status_of(refusal))
        labels = {
            "joy": assessment_pb2.LabelScore(probability=0.1, verdict=assessment_pb2.VERDICT_NO),
            "remove": assessment_pb2.LabelScore(probability=0.9, verdict=assessment_pb2.VERDICT_YES, holds=True),
        }
        assessment = assessment_pb2.Assessment(
            labels=labels,
            fallback=True,
            fallback_reason=assessment_pb2.FALLBACK_REASON_NO_ADAPTER,
            provenance=assessment_pb2.Provenance(
                encoder="e", adapter="house", thresholds="t", normalizer="n1", precedents="none"
            ),
        )
        return classify_pb.BatchClassifyResponse.Result(status=status_ok(), assessment=assessment)


class Review(review_rpc.ReviewServiceServicer):
    """One item, whose etag is `e1` until it is resolved and `e2` from then on."""

    def __init__(self) -> None:
        self.etag = "e1"
        self.corrections: list[review_pb.ResolveReviewItemRequest] = []
        self.golden: list[review_pb.GoldenItem] = []
        self.leanings: list[int] = []

    def _item(self) -> review_pb.ReviewItem:
        item = review_pb.ReviewItem(name=ITEM, etag=self.etag, reason=review_pb.REVIEW_REASON_HOLD)
        item.message.text = "du [bold]texte[/bold]"
        return item

    async def ListReviewItems(
        self, request: review_pb.ListReviewItemsRequest, context: Context
    ) -> review_pb.ListReviewItemsResponse:
        return review_pb.ListReviewItemsResponse(review_items=[self._item()])

    async def GetReviewItem(
        self, request: review_pb.GetReviewItemRequest, context: Context
    ) -> review_pb.GetReviewItemResponse:
        return review_pb.GetReviewItemResponse(review_item=self._item())

    async def ClaimReviewItem(
        self, request: review_pb.ClaimReviewItemRequest, context: Context
    ) -> review_pb.ClaimReviewItemResponse:
        if request.name == "brands/demo/reviewItems/taken":
            raise FailedPrecondition("bob holds it until noon.", reason=Reason.CLAIMED_BY_OTHER)
        return review_pb.ClaimReviewItemResponse(review_item=self._item())

    async def ResolveReviewItem(
        self, request: review_pb.ResolveReviewItemRequest, context: Context
    ) -> review_pb.ResolveReviewItemResponse:
        self._check(request.etag)
        self.corrections.append(request)
        self.etag = "e2"
        decision = decision_pb2.Decision(visibility=request.correction.visibility)
        return review_pb.ResolveReviewItemResponse(review_item=self._item(), decision=decision)

    async def UndoResolution(
        self, request: review_pb.UndoResolutionRequest, context: Context
    ) -> review_pb.UndoResolutionResponse:
        self._check(request.etag)
        return review_pb.UndoResolutionResponse(review_item=self._item())

    async def AskSecondOpinion(
        self, request: review_pb.AskSecondOpinionRequest, context: Context
    ) -> review_pb.AskSecondOpinionResponse:
        self.leanings.append(request.leaning)
        return review_pb.AskSecondOpinionResponse(review_item=self._item())

    async def AddGoldenItem(
        self, request: review_pb.AddGoldenItemRequest, context: Context
    ) -> review_pb.AddGoldenItemResponse:
        golden = review_pb.GoldenItem(name="brands/demo/goldenItems/g1", visibility=request.visibility)
        golden.message.name, golden.message.text = request.message, "gg [b]ez[/b]"
        self.golden.append(golden)
        return review_pb.AddGoldenItemResponse(golden_item=golden)

    async def ListGoldenItems(
        self, request: review_pb.ListGoldenItemsRequest, context: Context
    ) -> review_pb.ListGoldenItemsResponse:
        """One a page."""
        at = int(request.page_token or 0)
        more = str(at + 1) if at + 1 < len(self.golden) else ""
        return review_pb.ListGoldenItemsResponse(golden_items=self.golden[at : at + 1], next_page_token=more)

    async def WithdrawGoldenItem(
        self, request: review_pb.WithdrawGoldenItemRequest, context: Context
    ) -> review_pb.WithdrawGoldenItemResponse:
        (golden,) = [each for each in self.golden if each.name == request.name]
        golden.withdraw_time.GetCurrentTime()
        return review_pb.WithdrawGoldenItemResponse(golden_item=golden)

    def _check(self, etag: str) -> None:
        if etag != self.etag:
            raise Aborted("Someone changed it. Read it again.")


class Train(train_rpc.TrainServiceServicer):
    """A run that ends as `ending` says; its stream breaks once on the way."""

    ending: train_pb.RunState.ValueType = train_pb.RUN_STATE_PROMOTED
    broken = False

    async def CreateTrainingRun(
        self, request: train_pb.CreateTrainingRunRequest, context: Context
    ) -> train_pb.CreateTrainingRunResponse:
        run = train_pb.TrainingRun(name=f"{request.parent}/trainingRuns/r", state=train_pb.RUN_STATE_QUEUED)
        return train_pb.CreateTrainingRunResponse(training_run=run)

    async def FollowTrainingRun(
        self, request: train_pb.FollowTrainingRunRequest, context: Context
    ) -> AsyncIterator[train_pb.FollowTrainingRunResponse]:
        run = train_pb.TrainingRun(name=request.name, state=train_pb.RUN_STATE_TRAINING, progress=0.5)
        yield train_pb.FollowTrainingRunResponse(training_run=run)
        if not self.broken:
            self.broken = True
            raise Unavailable("restarting")
        run.state = self.ending
        run.gate.reasons.append("The champion is better.")
        yield train_pb.FollowTrainingRunResponse(training_run=run)


class Mesh:
    def __init__(self) -> None:
        self.review, self.train = Review(), Train()  # type: ignore[abstract]

    async def run(self, *arguments: str) -> int:
        return await asyncio.to_thread(run, list(arguments))


@pytest.fixture
async def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Mesh]:
    made = Mesh()
    classify = Classify()  # type: ignore[abstract]
    services = (
        Service(classify_rpc.add_ClassifyServiceServicer_to_server, classify, "apaise.classify.v1.ClassifyService"),
        Service(review_rpc.add_ReviewServiceServicer_to_server, made.review, "apaise.route.v1.ReviewService"),
        Service(train_rpc.add_TrainServiceServicer_to_server, made.train, "apaise.train.v1.TrainService"),
    )
    async with running(*services) as server:
        monkeypatch.setenv("APAISE_HOME", str(tmp_path))
        monkeypatch.setenv("APAISE_TOKEN", server.token(roles=("operator", "moderator", "lead", "ml_engineer")))
        for service in ("CLASSIFY", "ROUTE", "TRAIN"):
            monkeypatch.setenv(f"APAISE_{service}_ADDRESS", server.address)
        yield made


Captured = pytest.CaptureFixture[str]


async def test_classify_prints_the_documented_document(mesh: Mesh, capfd: Captured) -> None:
    assert await mesh.run("classify", "--brand", "demo", "--json", "gg ez noob") == 0
    (assessment,) = json.loads(capfd.readouterr().out)["assessments"]
    assert assessment["labels"]["remove"] == {"probability": 0.9, "holds": True, "verdict": "YES"}
    assert list(assessment["labels"]) == ["remove", "joy"]
    assert set(assessment["provenance"]) == {"encoder", "adapter", "thresholds", "normalizer", "precedents"}
    assert (assessment["fallback"], assessment["fallback_reason"]) == (True, "NO_ADAPTER")


async def test_one_unreadable_text_does_not_hide_the_others(mesh: Mesh, capfd: Captured) -> None:
    assert await mesh.run("classify", "--brand", "demo", "--json", "one", " ", "three") == 1
    first, second, third = json.loads(capfd.readouterr().out)["assessments"]
    assert second["error"]["reason"] == "EMPTY_MESSAGE"
    assert "labels" in first
    assert "labels" in third


async def test_a_text_is_shown_as_it_is(mesh: Mesh, capfd: Captured) -> None:
    assert await mesh.run("review", "list") == 0
    assert "du [bold]texte[/bold]" in capfd.readouterr().out


async def test_correcting_takes_the_item_and_sends_what_is_right(mesh: Mesh, capfd: Captured) -> None:
    line = ["review", "correct", "i1", "-b", "demo", "-v", "keep", "-l", "insult=no", "-l", "banter", "--json"]
    assert await mesh.run(*line) == 0
    (request,) = mesh.review.corrections
    assert (request.name, request.resolution) == (ITEM, review_pb.RESOLUTION_CORRECT)
    assert request.correction.visibility == decision_pb2.VISIBILITY_KEEP
    assert dict(request.correction.labels) == {"insult": False, "banter": True}
    assert json.loads(capfd.readouterr().out)["decision"]["visibility"] == "KEEP"


async def test_an_old_etag_is_refused(mesh: Mesh, capfd: Captured) -> None:
    assert await mesh.run("review", "confirm", ITEM, "--etag", "old", "--json") == 1
    assert json.loads(capfd.readouterr().out)["error"]["code"] == "ABORTED"


async def test_undo_finds_the_etag_itself(mesh: Mesh) -> None:
    assert await mesh.run("review", "confirm", ITEM) == 0
    assert await mesh.run("review", "undo", ITEM) == 0


async def test_a_refusal_is_one_line_with_its_reason(mesh: Mesh, capfd: Captured) -> None:
    assert await mesh.run("review", "claim", "taken", "-b", "demo") == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert "bob holds it until noon. [CLAIMED_BY_OTHER]" in " ".join(err.split())


async def test_a_second_opinion_is_asked_with_what_one_leans_to(mesh: Mesh) -> None:
    assert await mesh.run("review", "ask", ITEM) == 0
    assert await mesh.run("review", "ask", ITEM, "--leaning", "keep") == 0
    assert mesh.review.leanings == [0, decision_pb2.VISIBILITY_KEEP]


async def test_golden_items_are_put_in_listed_and_ended(mesh: Mesh, capfd: Captured) -> None:
    for message in ("m1", "m2"):
        assert await mesh.run("review", "golden", "add", message, "-b", "demo", "-v", "hide") == 0
    assert [golden.message.name for golden in mesh.review.golden] == [
        "brands/demo/messages/m1",
        "brands/demo/messages/m2",
    ]
    assert {golden.visibility for golden in mesh.review.golden} == {decision_pb2.VISIBILITY_HIDE}
    capfd.readouterr()
    assert await mesh.run("review", "golden", "list", "-b", "demo") == 0
    assert capfd.readouterr().out.count("gg [b]ez[/b]") == 2
    mesh.review.golden.pop()
    assert await mesh.run("review", "golden", "withdraw", "g1", "-b", "demo", "--json") == 0
    document = json.loads(capfd.readouterr().out)["golden_item"]
    assert (document["visibility"], bool(document["withdraw_time"])) == ("HIDE", True)


async def test_a_word_that_is_no_answer_is_exit_code_2(mesh: Mesh) -> None:
    assert await mesh.run("review", "golden", "add", "m1", "-b", "demo", "-v", "vanish") == 2
    assert mesh.review.golden == []


@pytest.mark.parametrize(
    "wrong", [["-v", "vanish"], ["-v", "keep", "-l", "insult=perhaps"], ["-v", "keep", "-l", "=yes"]]
)
async def test_a_wrong_correction_is_exit_code_2(mesh: Mesh, wrong: list[str], capfd: Captured) -> None:
    assert await mesh.run("review", "correct", ITEM, *wrong) == 2
    assert not mesh.review.corrections


@pytest.mark.parametrize(
    ("ending", "code"),
    [(train_pb.RUN_STATE_PROMOTED, 0), (train_pb.RUN_STATE_REFUSED, 1), (train_pb.RUN_STATE_FAILED, 1)],
)
async def test_train_follows_to_the_end_and_exits_as_the_gate_says(
    mesh: Mesh, ending: train_pb.RunState.ValueType, code: int, capfd: Captured
) -> None:
    mesh.train.ending = ending
    assert await mesh.run("train", "--brand", "demo", "--json") == code
    document = json.loads(capfd.readouterr().out)["training_run"]
    assert document["state"] == train_pb.RunState.Name(ending).removeprefix("RUN_STATE_")
    assert document["gate"]["reasons"] == ["The champion is better."]


async def test_a_charter_is_linted_without_a_mesh(tmp_path: Path, capfd: Captured) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("name: t\nlanguage: en\nclauses:\n  - id: insult\n    when: yes.insult\n    visibility: HIDE\n")
    bad.write_text("name: t\nlanguage: en\nclauses:\n  - id: insult\n    when: yes.insulte\n    visibility: HIDE\n")
    assert await asyncio.to_thread(run, ["charter", "lint", str(good), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["ok"]
    assert await asyncio.to_thread(run, ["charter", "lint", str(bad), "--json"]) == 1
    document = json.loads(capfd.readouterr().out)
    assert document["ok"] is False
    assert any(problem["line"] == 5 and problem["severity"] == "ERROR" for problem in document["problems"])
    assert await asyncio.to_thread(run, ["charter", "lint", str(good), str(bad)]) == 1
    said = capfd.readouterr().out.splitlines()
    assert f"{bad}:5: unknown label `insulte`: did you mean `insult`?" in said
    assert (
        f"{good}:4: warning: clause `insult` has no `explain`: people will read its id; add `explain: {{fr: …}}`"
        in said
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["train"], "BRAND_MISSING"),
        (["train", "--corrections", "c.jsonl"], "FILES_MISSING"),
        (["train", "--corrections", "none.jsonl", "--holdout", "none.jsonl"], "TRAINING_FAILED"),
    ],
)
def test_training_from_files_says_what_is_missing(
    arguments: list[str], code: str, capfd: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APAISE_HOME", str(tmp_path))
    assert run([*arguments, "--json"]) != 0
    assert json.loads(capfd.readouterr().out)["error"]["code"] == code
