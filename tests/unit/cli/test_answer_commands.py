"""`apaise answer …` and `apaise draft --keep` against a service that answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from apaise.route.v1 import answer_service_pb2 as pb
from apaise.route.v1 import answer_service_pb2_grpc as rpc
from apaise.route.v1 import reply_service_pb2 as replies
from apaise.route.v1 import reply_service_pb2_grpc as replies_rpc
from apaise_cli.main import run
from apaise_kit.runtime.server import Service
from apaise_kit.testing import running

Context = grpc.aio.ServicerContext[Any, Any]
NAME = "brands/demo/answers/a1"
ANSWER = pb.Answer(
    name=NAME,
    state=pb.ANSWER_STATE_ACTIVE,
    language="fr",
    text="Trois jours [b]ouvrés[/b].",
    questions=["Quel délai ?"],
    proposed_questions=["C'est long ?"],
)
ANSWERS = {
    "AddAnswer": pb.AddAnswerResponse(answer=ANSWER),
    "KeepReply": pb.KeepReplyResponse(answer=ANSWER),
    "ListAnswers": pb.ListAnswersResponse(answers=[ANSWER]),
    "FindAnswers": pb.FindAnswersResponse(
        found=[
            pb.FoundAnswer(answer=ANSWER, similarity=0.91, near_enough=True),
            pb.FoundAnswer(answer=ANSWER, similarity=0.4),
        ]
    ),
    "ApproveAnswer": pb.ApproveAnswerResponse(answer=ANSWER),
    "RetireAnswer": pb.RetireAnswerResponse(answer=ANSWER),
}


class Answers(rpc.AnswerServiceServicer, replies_rpc.ReplyServiceServicer):
    """Keeps what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.draft = replies.DraftReplyResponse(
            text=ANSWER.text, answer=NAME, similarity=0.93, language="fr", posture="solve"
        )

    async def DraftReply(self, request: replies.DraftReplyRequest, context: Context) -> replies.DraftReplyResponse:
        return self.draft


def _answering(method: str) -> Any:
    async def answer(self: Answers, request: Any, context: Context) -> Any:
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            assert len(request.request_id) == 26
            request.request_id = ""
        self.asked.append(request)
        return ANSWERS[method]

    return answer


for _method in ANSWERS:
    setattr(Answers, _method, _answering(_method))


@pytest.fixture
async def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Answers]:
    made = Answers()  # type: ignore[abstract]
    ours = Service(rpc.add_AnswerServiceServicer_to_server, made, "apaise.route.v1.AnswerService")
    theirs = Service(replies_rpc.add_ReplyServiceServicer_to_server, made, "apaise.route.v1.ReplyService")
    async with running(ours, theirs) as server:
        monkeypatch.setenv("APAISE_HOME", str(tmp_path))
        monkeypatch.setenv("APAISE_TOKEN", server.token(roles=("moderator", "lead")))
        monkeypatch.setenv("APAISE_ROUTE_ADDRESS", server.address)
        yield made


async def apaise(*arguments: str) -> int:
    return await asyncio.to_thread(run, list(arguments))


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        (
            ["answer", "add", "Trois jours.", "-q", "Quel délai ?", "-q", "C'est long ?", "--intent", "question"],
            pb.AddAnswerRequest(
                parent="brands/demo",
                answer=pb.Answer(
                    language="fr", text="Trois jours.", questions=["Quel délai ?", "C'est long ?"], intent="question"
                ),
            ),
        ),
        (
            ["answer", "add", "aide@b.example", "-q", "Où écrire ?", "--own-contacts", "-l", "en", "--propose"],
            pb.AddAnswerRequest(
                parent="brands/demo",
                answer=pb.Answer(language="en", text="aide@b.example", questions=["Où écrire ?"], own_contacts=True),
            ),
        ),
        (
            ["answer", "list", "--state", "proposed", "--limit", "9"],
            pb.ListAnswersRequest(parent="brands/demo", state=pb.ANSWER_STATE_PROPOSED, page_size=9),
        ),
        (["answer", "find", "c'est long ?"], pb.FindAnswersRequest(parent="brands/demo", text="c'est long ?")),
        (["answer", "approve", "a1", "--etag", "3"], pb.ApproveAnswerRequest(name=NAME, etag="3")),
        (["answer", "retire", "a1"], pb.RetireAnswerRequest(name=NAME)),
        (
            ["draft", "m1", "--keep", "-q", "Quel délai ?"],
            pb.KeepReplyRequest(
                message="brands/demo/messages/m1",
                text=ANSWER.text,
                answer=NAME,
                language="fr",
                questions=["Quel délai ?"],
            ),
        ),
        (
            ["draft", "m1", "--keep-as", "Deux jours."],
            pb.KeepReplyRequest(message="brands/demo/messages/m1", text="Deux jours.", answer=NAME, language="fr"),
        ),
    ],
)
async def test_what_a_command_asks(
    answers: Answers, line: list[str], asked: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    assert await apaise(*line, "--brand", "demo", "--json") == 0
    assert answers.asked == [asked]
    assert json.loads(capfd.readouterr().out)


async def test_what_a_person_reads(answers: Answers, capfd: pytest.CaptureFixture[str]) -> None:
    assert await apaise("answer", "find", "c'est long ?", "--brand", "demo") == 0
    found = capfd.readouterr().out
    assert "0.910 would answer: Trois jours [b]ouvrés[/b]." in found
    assert "0.400 not sure enough" in found
    assert await apaise("answer", "list", "--brand", "demo") == 0
    assert "active (+1)" in capfd.readouterr().out
    assert await apaise("answer", "approve", NAME) == 0
    assert f"{NAME} is active, 1 of what it answers wait for a lead." in capfd.readouterr().out.replace("\n", " ")
    assert await apaise("draft", "m1", "--brand", "demo") == 0
    assert f"({NAME}, 0.930 near)" in capfd.readouterr().out


async def test_there_is_nothing_to_keep_of_no_draft(answers: Answers, capfd: pytest.CaptureFixture[str]) -> None:
    answers.draft = replies.DraftReplyResponse(note=replies.DRAFT_NOTE_NOT_READ)
    assert await apaise("draft", "m1", "--brand", "demo", "--keep", "--json") == 1
    assert json.loads(capfd.readouterr().out)["error"]["code"] == "NO_DRAFT"
    assert answers.asked == []
