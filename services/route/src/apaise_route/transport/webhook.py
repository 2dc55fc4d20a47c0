"""What comes back over HTTP: a desk's answer, or what became of a reply. Signed; sent again, it is not done twice.

POST /webhooks/{brand}
{"type": "case.answered", "case": "brands/…/cases/…", "text": "…", "audience": "PRIVATE", "etag": "3"}
{"type": "reply.reported", "case": "…", "outcome": "APPLIED", "external_id": "…", "detail": "…"}
{"type": "case.assigned", "case": "…", "assignee": "…"}
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from apaise_kit.core.caller import Caller, acting_as
from apaise_kit.core.errors import (
    Aborted,
    AlreadyExists,
    ApaiseError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unauthenticated,
    Unavailable,
    not_found,
)
from apaise_kit.core.ids import new_id
from apaise_kit.core.names import CASE, Name, check_slug
from apaise_kit.runtime.logs import get_logger
from apaise_route.app import cases
from apaise_route.app.deps import Deps
from apaise_route.domain.cases import Case
from apaise_route.domain.model import ActionState, Audience, Queue
from apaise_route.domain.webhooks import check
from apaise_route.transport import case_codec, codec

_LARGEST: Final = 64 * 1024
_STATUS: Final = {
    Unauthenticated: 401,
    NotFound: 404,
    InvalidArgument: 400,
    FailedPrecondition: 409,
    AlreadyExists: 409,
    Aborted: 409,
    Unavailable: 503,
}
_log = get_logger(__name__)


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    case: str


class _Answered(_Told):
    type: Literal["case.answered"]
    text: str
    audience: Literal["PUBLIC", "PRIVATE"] | None = None
    etag: str = ""


class _Reported(_Told):
    type: Literal["reply.reported"]
    outcome: Literal["APPLIED", "REFUSED", "TOO_LATE"]
    external_id: str = ""
    detail: str = ""


class _Assigned(_Told):
    type: Literal["case.assigned"]
    assignee: str = ""
    etag: str = ""


_Body = Annotated[_Answered | _Reported | _Assigned, Field(discriminator="type")]
_ADAPTER: Final[TypeAdapter[_Answered | _Reported | _Assigned]] = TypeAdapter(_Body)


def webhook_app(deps: Deps) -> web.Application:
    """The HTTP application that listens to desks."""
    app = web.Application(client_max_size=_LARGEST, middlewares=[_errors])
    app.router.add_post("/webhooks/{brand}", Receiver(deps).receive)
    return app


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Refusals as JSON with their reason; a fault of ours as an error id, never as its text."""
    try:
        return await handler(request)
    except ApaiseError as error:
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
        return web.json_response({"reason": error.reason.value, "message": error.message}, status=status)
    except web.HTTPException:
        raise
    except Exception as error:
        error_id = new_id()
        _log.error("webhook_failed", error_id=error_id, exc_info=error)
        return web.json_response({"reason": "INTERNAL", "error_id": error_id}, status=500)


class Receiver:
    """Checks the signature, then does what the webhook says as the brand's desk."""

    def __init__(self, deps: Deps) -> None:
        """`deps` is what use cases need."""
        self._deps = deps

    async def receive(self, request: web.Request) -> web.Response:
        """One webhook: 200 with the case's state, also when it was done before."""
        brand, content = check_slug(request.match_info["brand"], "brand"), await request.read()
        key = self._deps.desks.of(brand).key
        if not key:
            raise Unauthenticated("No desk of this brand may call here.")
        identifier = check(key, request.headers, content, self._deps.clock.now())
        body = _read(content)
        name = CASE.parse(body.case, "case")
        if name.brand != brand:
            raise not_found(body.case)
        desk = Caller(f"desk:{brand}", frozenset({"service"}), frozenset({brand}), codec.request_id(identifier))
        with acting_as(desk):
            case = await self._do(name, body, identifier)
        return web.json_response({"case": case.name, "state": case.state.name, "etag": str(case.version)})

    async def _do(self, name: Name, body: _Answered | _Reported | _Assigned, identifier: str) -> Case:
        request_id = f"webhook:{identifier}"
        if isinstance(body, _Answered):
            audience = Audience[body.audience] if body.audience else None
            text = case_codec.words(body.text, "text")
            return await cases.answer_case(self._deps, name, text, audience, body.etag, request_id)
        if isinstance(body, _Reported):
            told = case_codec.external_id(body.external_id), case_codec.detail(body.detail)
            return await cases.report_reply(self._deps, name, ActionState[body.outcome], *told, request_id)
        assignee = case_codec.assignee(body.assignee)
        return await cases.assign_case(self._deps, name, Queue.NONE, assignee, body.etag, request_id)


def _read(content: bytes) -> _Answered | _Reported | _Assigned:
    try:
        return _ADAPTER.validate_python(json.loads(content))
    except (ValueError, RecursionError) as error:
        fields = [".".join(map(str, e["loc"])) for e in error.errors()] if isinstance(error, ValidationError) else []
        where = f" Wrong: {', '.join(fields)}." if fields else ""
        raise InvalidArgument(f"The body is not one of the webhooks this address takes.{where}") from None


class WebhookServer:
    """Listens on a port while the service runs."""

    def __init__(self, deps: Deps, host: str, port: int) -> None:
        """`port` 0 takes a free one."""
        self._runner = web.AppRunner(webhook_app(deps), access_log=None)
        self._host, self._port = host, port

    async def start(self) -> int:
        """Listen; the port."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        port: int = self._runner.addresses[0][1]
        _log.info("webhooks_listening", host=self._host, port=port)
        return port

    async def stop(self) -> None:
        """Stop, letting what is being done finish."""
        await self._runner.cleanup()
