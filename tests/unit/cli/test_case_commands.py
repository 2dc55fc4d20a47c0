"""`apaise case …` against a service that answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from apaise.route.v1 import case_service_pb2 as pb
from apaise.route.v1 import case_service_pb2_grpc as rpc
from apaise.route.v1 import decision_pb2
from apaise.type.v1 import message_pb2
from apaise_cli.main import run
from apaise_kit.core.errors import FailedPrecondition
from apaise_kit.runtime.server import Service
from apaise_kit.testing import running

Context = grpc.aio.ServicerContext[Any, Any]
CASE = "brands/demo/cases/c1"
MOVES = {
    "AssignCase": pb.AssignCaseResponse,
    "AddCaseNote": pb.AddCaseNoteResponse,
    "AnswerCase": pb.AnswerCaseResponse,
    "ReturnCase": pb.ReturnCaseResponse,
    "ReportCaseReply": pb.ReportCaseReplyResponse,
    "CloseCase": pb.CloseCaseResponse,
    "ReopenCase": pb.ReopenCaseResponse,
    "OpenCase": pb.OpenCaseResponse,
}


class Cases(rpc.CaseServiceServicer):
    """Keeps what it is asked; each move answers one and the same case."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.case = pb.Case(name=CASE, state=pb.CASE_STATE_ANSWERED, team=decision_pb2.QUEUE_CARE, late=True)

    async def ListCases(self, request: pb.ListCasesRequest, context: Context) -> pb.ListCasesResponse:
        self.asked.append(request)
        page = [pb.Case(name=f"{CASE}{n}") for n in range(min(request.page_size, 3))]
        return pb.ListCasesResponse(cases=page, next_page_token="more")

    async def GetCase(self, request: pb.GetCaseRequest, context: Context) -> pb.GetCaseResponse:
        leg = pb.ReplyLeg(
            audience=message_pb2.AUDIENCE_PRIVATE,
            verdict=pb.LEG_VERDICT_DENIED,
            rule="youtube-no-private",
            explanation={"fr": "non", "en": "no"},
        )
        entry = pb.CaseEntry(number=1, kind=pb.CASE_ENTRY_KIND_NOTE, actor="ana", text="une [i]note[/i]")
        message = message_pb2.Message(text="toujours rien")
        return pb.GetCaseResponse(case=self.case, message=message, entries=[entry], legs=[leg])


def _answering(method: str) -> Any:
    async def answer(self: Cases, request: Any, context: Context) -> Any:
        self.asked.append(request)
        if request.etag == "old" if "etag" in request.DESCRIPTOR.fields_by_name else False:
            raise FailedPrecondition("YouTube: no.", metadata={"rule": "youtube-no-private"})
        return MOVES[method](case=self.case)

    return answer


for _method in MOVES:
    setattr(Cases, _method, _answering(_method))


@pytest.fixture
async def cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cases]:
    made = Cases()  # type: ignore[abstract]
    service = Service(rpc.add_CaseServiceServicer_to_server, made, "apaise.route.v1.CaseService")
    async with running(service) as server:
        monkeypatch.setenv("APAISE_HOME", str(tmp_path))
        monkeypatch.setenv("APAISE_TOKEN", server.token(roles=("moderator",)))
        monkeypatch.setenv("APAISE_ROUTE_ADDRESS", server.address)
        yield made


async def apaise(*arguments: str) -> int:
    return await asyncio.to_thread(run, ["case", *arguments])


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        (["note", "c1", "n"], pb.AddCaseNoteRequest(name=CASE, text="n")),
        (["answer", "c1", "a"], pb.AnswerCaseRequest(name=CASE, text="a")),
        (
            ["answer", "c1", "a", "--private", "--etag", "3"],
            pb.AnswerCaseRequest(name=CASE, text="a", audience=message_pb2.AUDIENCE_PRIVATE, etag="3"),
        ),
        (["return", "c1"], pb.ReturnCaseRequest(name=CASE, audience=message_pb2.AUDIENCE_PUBLIC)),
        (["return", "c1", "--private"], pb.ReturnCaseRequest(name=CASE, audience=message_pb2.AUDIENCE_PRIVATE)),
        (
            ["assign", "c1", "--to", "cleo", "--team", "legal"],
            pb.AssignCaseRequest(name=CASE, assignee="cleo", team=decision_pb2.QUEUE_LEGAL),
        ),
        (
            ["report", "c1", "too-late", "--external-id", "r"],
            pb.ReportCaseReplyRequest(name=CASE, outcome=decision_pb2.ACTION_STATE_TOO_LATE, external_id="r"),
        ),
        (["close", "c1", "-r", "silence"], pb.CloseCaseRequest(name=CASE, reason="silence")),
        (["reopen", "c1"], pb.ReopenCaseRequest(name=CASE)),
        (
            ["open", "m1", "--tension", "crisis"],
            pb.OpenCaseRequest(message="brands/demo/messages/m1", tension=pb.TENSION_CRISIS),
        ),
    ],
)
async def test_what_a_command_asks(
    cases: Cases, line: list[str], asked: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    assert await apaise(*line, "--brand", "demo", "--json") == 0
    (request,) = cases.asked
    assert request.request_id
    request.request_id = ""
    assert request == asked
    document = json.loads(capfd.readouterr().out)["case"]
    assert (document["name"], document["state"], document["team"]) == (CASE, "ANSWERED", "CARE")


async def test_a_list_asks_for_no_more_than_it_shows(cases: Cases, capfd: pytest.CaptureFixture[str]) -> None:
    assert await apaise("list", "--late", "--limit", "4", "--json") == 0
    assert len(json.loads(capfd.readouterr().out)["cases"]) == 4
    assert [request.page_size for request in cases.asked] == [4, 1]
    assert all(request.late and request.parent == "brands/-" for request in cases.asked)


async def test_a_case_is_shown_with_its_history_and_where_a_reply_may_go(
    cases: Cases, capfd: pytest.CaptureFixture[str]
) -> None:
    assert await apaise("show", CASE) == 0
    out = capfd.readouterr().out
    for shown in ("toujours rien", "une [i]note[/i]", "denied", "non / no", "late"):
        assert shown in out


async def test_a_refusal_is_exit_code_1_and_a_wrong_word_2(cases: Cases, capfd: pytest.CaptureFixture[str]) -> None:
    assert await apaise("return", CASE, "--etag", "old") == 1
    assert "YouTube: no." in capfd.readouterr().err
    assert await apaise("report", CASE, "perhaps") == 2
