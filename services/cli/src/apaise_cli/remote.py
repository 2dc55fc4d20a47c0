"""Speaking to the services: addresses, tokens, channels, and their refusals in one line."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from apaise_cli.errors import CliError
from apaise_cli.home import Home

if TYPE_CHECKING:
    import grpc

    from apaise_kit.runtime.status import Failure

# Calls that may be sent again when a service is being restarted: reads, and what is idempotent by its contract.
_IDEMPOTENT: Final = {
    "ingest": (
        "CreateBrand",
        "GetBrand",
        "ListBrands",
        "CreateChannel",
        "ListChannels",
        "SubmitMessage",
        "BatchSubmitMessages",
        "GetMessage",
        "ListMessages",
    ),
    "classify": ("Classify", "BatchClassify", "GetAdapter", "ListAdapters"),
    "train": ("CreateTrainingRun", "GetTrainingRun", "ListTrainingRuns", "ListLedger"),
}
_ROUTE_IDEMPOTENT: Final = (
    "apaise.route.v1.RouteService/ListDecisions",
    "apaise.route.v1.RouteService/RecheckDecisions",
    "apaise.route.v1.ReviewService/ListReviewItems",
    "apaise.route.v1.ReviewService/GetReviewItem",
    "apaise.route.v1.ReviewService/ResolveReviewItem",
    "apaise.route.v1.FiguresService/GetFigures",
    "apaise.route.v1.ArchiveService/ListExhibits",
    "apaise.route.v1.ArchiveService/GetExhibit",
    "apaise.route.v1.ForwardService/ListForward",
    "apaise.route.v1.ReplyService/DraftReply",
    "apaise.route.v1.AnswerService/AddAnswer",
    "apaise.route.v1.AnswerService/KeepReply",
    "apaise.route.v1.AnswerService/ListAnswers",
    "apaise.route.v1.AnswerService/FindAnswers",
    "apaise.route.v1.AnswerService/ApproveAnswer",
    "apaise.route.v1.AnswerService/RetireAnswer",
    "apaise.route.v1.PreflightService/PreflightMessage",
    "apaise.route.v1.CaseService/GetCase",
    "apaise.route.v1.CaseService/ListCases",
    "apaise.route.v1.CaseService/OpenCase",
    "apaise.route.v1.CaseService/AssignCase",
    "apaise.route.v1.CaseService/AddCaseNote",
    "apaise.route.v1.CaseService/AnswerCase",
    "apaise.route.v1.CaseService/ReturnCase",
    "apaise.route.v1.CaseService/ReportCaseReply",
    "apaise.route.v1.CaseService/CloseCase",
    "apaise.route.v1.CaseService/ReopenCase",
    "apaise.route.v1.CharterService/CreateCharter",
    "apaise.route.v1.CharterService/GetCharter",
    "apaise.route.v1.CharterService/LintCharter",
    "apaise.route.v1.CharterService/DiffCharter",
    "apaise.route.v1.CharterService/GetShadow",
    "apaise.route.v1.CharterService/ListLiveWords",
)


def address_of(home: Home, service: str) -> str:
    """Where a service listens: `APAISE_<SERVICE>_ADDRESS`, or the embedded mesh of this home.

    Raises:
        CliError: when there is neither.
    """
    given = os.environ.get(f"APAISE_{service.upper()}_ADDRESS")
    if given:
        return given
    port = home.ports.get(service)
    if port is None:
        raise CliError(
            f"No mesh runs in {home.path}.",
            "Start one (apaise up --detach), or set APAISE_HOME or APAISE_" + service.upper() + "_ADDRESS.",
            code="NO_MESH",
        )
    return f"127.0.0.1:{port}"


def token_for(home: Home, role: str) -> str:
    """The bearer token: `APAISE_TOKEN`, or this home's for the role.

    Raises:
        CliError: when there is none.
    """
    given = os.environ.get("APAISE_TOKEN")
    if given:
        return given
    try:
        return (home.tokens / role).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CliError(
            f"There is no token for {role} in {home.tokens}.",
            "Start the mesh (apaise up), or set APAISE_TOKEN.",
            code="NO_TOKEN",
        ) from error


@asynccontextmanager
async def connect(home: Home, service: str, role: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a service, as this role."""
    from apaise_kit.runtime.client import open_channel

    names: tuple[str, ...] = _ROUTE_IDEMPOTENT
    if service != "route":
        prefix = f"apaise.{service}.v1.{service.capitalize()}Service/"
        names = tuple(prefix + method for method in _IDEMPOTENT[service])
    channel = open_channel(address_of(home, service), token_for(home, role), idempotent=names, timeout=60.0)
    try:
        yield channel
    finally:
        await channel.close()


def explain(error: Exception) -> CliError | None:
    """A service's refusal, or one of our own typed errors, as one line; None for anything else."""
    import grpc

    from apaise_kit.core.errors import ApaiseError

    if isinstance(error, grpc.aio.AioRpcError):
        from apaise_kit.runtime.status import failure_of

        return explain_failure(failure_of(error))
    if isinstance(error, ApaiseError):
        violations = [(v.field, v.description) for v in error.violations]
        return _refusal(error.message, error.reason.value, error.reason.value, violations, error.metadata)
    return None


def explain_failure(failure: Failure) -> CliError:
    """A refusal read by the kit, as one line."""
    import grpc

    if not failure.reason and failure.code is grpc.StatusCode.UNAVAILABLE:
        return CliError(
            "The service does not answer.",
            "Is the mesh up? apaise status says; apaise up starts it.",
            code="UNAVAILABLE",
        )
    violations = [(v.field, v.description) for v in failure.violations]
    refusal = _refusal(
        failure.message or failure.code.name, failure.code.name, failure.reason, violations, failure.metadata
    )
    if failure.retry_after is not None:
        refusal.details["retry_after_s"] = failure.retry_after.total_seconds()
        refusal.way_out = refusal.way_out or f"Try again in {failure.retry_after.total_seconds():.1f} s."
    return refusal


def _refusal(
    message: str, code: str, reason: str, violations: list[tuple[str, str]], metadata: dict[str, str]
) -> CliError:
    details = {
        "violations": [{"field": field, "description": description} for field, description in violations],
        "metadata": dict(metadata),
    }
    said = "; ".join(f"{field}: {description}" for field, description in violations if description not in message)
    return CliError(f"{message} ({said})" if said else message, code=code, reason=reason, details=details)
