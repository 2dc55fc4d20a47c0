"""CaseService. Each method decodes, calls one use case, encodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TypeAlias

import grpc

from apaise.route.v1 import case_service_pb2 as pb
from apaise.route.v1.case_service_pb2_grpc import CaseServiceServicer
from apaise_kit.core.names import CASE, MESSAGE, parse_brand
from apaise_route.app import cases
from apaise_route.app.deps import Deps
from apaise_route.domain.model import ActionState
from apaise_route.transport import case_codec, codec

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class CaseServicer(CaseServiceServicer):
    """CaseService."""

    def __init__(self, deps: Deps) -> None:
        """`deps` is what use cases need."""
        self._deps = deps

    async def OpenCase(self, request: pb.OpenCaseRequest, context: Context) -> pb.OpenCaseResponse:
        """See the contract."""
        codec.request_id(request.request_id)
        wanted = case_codec.team(request.team), case_codec.tension(request.tension)
        note = case_codec.words(request.note, "note", required=False)
        case = await cases.open_case(self._deps, *MESSAGE.parse(request.message, "message"), *wanted, note)
        return pb.OpenCaseResponse(case=case_codec.case_pb(case))

    async def GetCase(self, request: pb.GetCaseRequest, context: Context) -> pb.GetCaseResponse:
        """See the contract."""
        return case_codec.view_pb(await cases.get_case(self._deps, CASE.parse(request.name)))

    async def ListCases(self, request: pb.ListCasesRequest, context: Context) -> pb.ListCasesResponse:
        """See the contract."""
        brand = parse_brand(request.parent, "parent", wildcard=True)
        wanted = case_codec.filters(request)
        page, token = await cases.list_cases(self._deps, brand, *wanted, request.page_size, request.page_token)
        return pb.ListCasesResponse(cases=map(case_codec.case_pb, page), next_page_token=token)

    async def AssignCase(self, request: pb.AssignCaseRequest, context: Context) -> pb.AssignCaseResponse:
        """See the contract."""
        given = case_codec.team(request.team), case_codec.assignee(request.assignee), request.etag
        request_id = codec.request_id(request.request_id)
        case = await cases.assign_case(self._deps, CASE.parse(request.name), *given, request_id)
        return pb.AssignCaseResponse(case=case_codec.case_pb(case))

    async def AddCaseNote(self, request: pb.AddCaseNoteRequest, context: Context) -> pb.AddCaseNoteResponse:
        """See the contract."""
        text, request_id = case_codec.words(request.text, "text"), codec.request_id(request.request_id)
        case = await cases.note_case(self._deps, CASE.parse(request.name), text, request_id)
        return pb.AddCaseNoteResponse(case=case_codec.case_pb(case))

    async def AnswerCase(self, request: pb.AnswerCaseRequest, context: Context) -> pb.AnswerCaseResponse:
        """See the contract."""
        said = case_codec.words(request.text, "text"), case_codec.audience(request.audience), request.etag
        request_id = codec.request_id(request.request_id)
        case = await cases.answer_case(self._deps, CASE.parse(request.name), *said, request_id)
        return pb.AnswerCaseResponse(case=case_codec.case_pb(case))

    async def ReturnCase(self, request: pb.ReturnCaseRequest, context: Context) -> pb.ReturnCaseResponse:
        """See the contract."""
        text = case_codec.words(request.text, "text", required=False)
        said = text, case_codec.some_audience(request.audience), request.etag
        request_id = codec.request_id(request.request_id)
        case = await cases.return_case(self._deps, CASE.parse(request.name), *said, request_id)
        return pb.ReturnCaseResponse(case=case_codec.case_pb(case))

    async def ReportCaseReply(self, request: pb.ReportCaseReplyRequest, context: Context) -> pb.ReportCaseReplyResponse:
        """See the contract."""
        outcome = codec.member(ActionState, request.outcome, "outcome")
        told = case_codec.external_id(request.external_id), case_codec.detail(request.detail)
        request_id = codec.request_id(request.request_id)
        case = await cases.report_reply(self._deps, CASE.parse(request.name), outcome, *told, request_id)
        return pb.ReportCaseReplyResponse(case=case_codec.case_pb(case))

    async def CloseCase(self, request: pb.CloseCaseRequest, context: Context) -> pb.CloseCaseResponse:
        """See the contract."""
        reason, request_id = _reason(request.reason), codec.request_id(request.request_id)
        case = await cases.close_case(self._deps, CASE.parse(request.name), reason, request.etag, request_id)
        return pb.CloseCaseResponse(case=case_codec.case_pb(case))

    async def ReopenCase(self, request: pb.ReopenCaseRequest, context: Context) -> pb.ReopenCaseResponse:
        """See the contract."""
        reason, request_id = _reason(request.reason), codec.request_id(request.request_id)
        case = await cases.reopen_case(self._deps, CASE.parse(request.name), reason, request.etag, request_id)
        return pb.ReopenCaseResponse(case=case_codec.case_pb(case))

    async def FollowCases(
        self, request: pb.FollowCasesRequest, context: Context
    ) -> AsyncIterator[pb.FollowCasesResponse]:
        """See the contract."""
        brand = parse_brand(request.parent, "parent", wildcard=True)
        async with aclosing(cases.follow_cases(self._deps, brand, request.cursor)) as stream:
            async for found, cursor in stream:
                yield case_codec.followed(found, cursor)


def _reason(text: str) -> str:
    return case_codec.words(text, "reason", required=False)
