"""AnswerService: the contract's side of approved answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import grpc

from apaise.route.v1 import answer_service_pb2 as pb
from apaise.route.v1.answer_service_pb2_grpc import AnswerServiceServicer
from apaise_kit.core.errors import invalid_field
from apaise_kit.core.names import ANSWER, MESSAGE, parse_brand
from apaise_route.app import answers
from apaise_route.app.deps import Deps
from apaise_route.domain.answers import Answer, AnswerState, Example, Found, near_enough
from apaise_route.transport import codec

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}")
_MAX_BYTES: Final = 32 * 1024


class AnswerServicer(AnswerServiceServicer):
    """AnswerService."""

    def __init__(self, deps: Deps) -> None:
        """`deps` is what use cases need."""
        self._deps = deps

    async def AddAnswer(self, request: pb.AddAnswerRequest, context: Context) -> pb.AddAnswerResponse:
        """See the contract."""
        codec.request_id(request.request_id)
        brand = parse_brand(request.parent, "parent")
        added = await answers.add_answer(self._deps, _given(brand, request.answer), _lines(request.answer.questions))
        return pb.AddAnswerResponse(answer=answer_pb(added))

    async def KeepReply(self, request: pb.KeepReplyRequest, context: Context) -> pb.KeepReplyResponse:
        """See the contract."""
        codec.request_id(request.request_id)
        key = MESSAGE.parse(request.message, "message")
        cited = ANSWER.parse(request.answer, "answer") if request.answer else None
        if cited is not None and cited.brand != key.brand:
            raise invalid_field("answer", "must be the message's brand's")
        said = codec.clean(request.text).strip(), request.scenario, cited.id if cited else ""
        language = _language(request.language, "language", required=False)
        kept = await answers.keep_reply(self._deps, key, *said, _lines(request.questions), language)
        return pb.KeepReplyResponse(answer=answer_pb(kept))

    async def ListAnswers(self, request: pb.ListAnswersRequest, context: Context) -> pb.ListAnswersResponse:
        """See the contract."""
        brand = parse_brand(request.parent, "parent")
        state = codec.optional_member(AnswerState, request.state, "state")
        language = _language(request.language, "language", required=False)
        page, token = await answers.list_answers(
            self._deps, brand, state, language, request.page_size, request.page_token
        )
        return pb.ListAnswersResponse(answers=map(answer_pb, page), next_page_token=token)

    async def FindAnswers(self, request: pb.FindAnswersRequest, context: Context) -> pb.FindAnswersResponse:
        """See the contract."""
        brand = parse_brand(request.parent, "parent")
        if not request.text.strip() or len(request.text.encode()) > _MAX_BYTES:
            raise invalid_field("text", f"must be 1 to {_MAX_BYTES} bytes")
        language = _language(request.language, "language", required=False)
        found = await answers.find_answers(self._deps, brand, request.text, language)
        return pb.FindAnswersResponse(found=_found_pb(found))

    async def ApproveAnswer(self, request: pb.ApproveAnswerRequest, context: Context) -> pb.ApproveAnswerResponse:
        """See the contract."""
        codec.request_id(request.request_id)
        approved = await answers.approve_answer(self._deps, ANSWER.parse(request.name), request.etag)
        return pb.ApproveAnswerResponse(answer=answer_pb(approved))

    async def RetireAnswer(self, request: pb.RetireAnswerRequest, context: Context) -> pb.RetireAnswerResponse:
        """See the contract."""
        codec.request_id(request.request_id)
        return pb.RetireAnswerResponse(
            answer=answer_pb(await answers.retire_answer(self._deps, ANSWER.parse(request.name)))
        )


def _given(brand: str, given: pb.Answer) -> Answer:
    language = _language(given.language, "answer.language", required=True)
    text = codec.clean(given.text).strip()
    return Answer(brand, language, text, given.intent, given.posture, given.own_contacts)


def _language(value: str, field: str, *, required: bool) -> str:
    if (value or required) and not _LANGUAGE.fullmatch(value):
        raise invalid_field(field, "must be a language's two or three letters, like fr")
    return value


def _lines(given: Iterable[str]) -> list[str]:
    """Questions: spaces count for nothing, and each is there once."""
    return list(dict.fromkeys(" ".join(codec.clean(one).split()) for one in given))


def answer_pb(answer: Answer) -> pb.Answer:
    """An answer."""
    waiting = [one for one in answer.examples if not one.approved]
    approved = [one for one in answer.examples if one.approved]
    written = pb.Answer(
        name=answer.name,
        language=answer.language,
        text=answer.text,
        questions=_questions(approved),
        intent=answer.intent,
        posture=answer.posture,
        own_contacts=answer.own_contacts,
        state=int(answer.state),  # type: ignore[arg-type]
        origin=int(answer.origin),  # type: ignore[arg-type]
        create_actor=answer.create_actor,
        approve_actor=answer.approve_actor,
        proposed_questions=_questions(waiting),
        messages=_messages(answer.brand, approved),
        proposed_messages=_messages(answer.brand, waiting),
        etag=str(answer.version),
    )
    codec.stamp(written.create_time, answer.create_time)
    codec.stamp(written.approve_time, answer.approve_time)
    return written


def _questions(examples: Iterable[Example]) -> list[str]:
    return [one.question for one in examples if one.question]


def _messages(brand: str, examples: Iterable[Example]) -> list[str]:
    return [MESSAGE.format(brand, one.message) for one in examples if one.message]


def _found_pb(found: Sequence[Found]) -> list[pb.FoundAnswer]:
    pages = [pb.FoundAnswer(answer=answer_pb(one.answer), similarity=one.similarity) for one in found]
    if found:
        pages[0].near_enough = near_enough(found)
    return pages
