"""Between protobuf and the domain; nothing else sees both."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from apaise.classify.v1 import classify_service_pb2 as pb
from apaise.type.v1 import assessment_pb2
from apaise_classify.domain.adapters import Adapter, AdapterState, Revision, Wish, brand_of_lane
from apaise_classify.domain.arms import Arm, Arms, percentile
from apaise_classify.domain.assessment import Assessment
from apaise_classify.domain.ports import Place
from apaise_classify.domain.precedents import Precedent
from apaise_classify.domain.reading import Fallback, Item, Vectors, Verdict
from apaise_kit.core import cursor
from apaise_kit.core.errors import ApaiseError, invalid_field
from apaise_kit.core.names import ADAPTER, MESSAGE, PRECEDENT, Name, parse_brand
from apaise_kit.runtime.status import status_of, status_ok

_DEFAULT_PAGE: Final = 50
_LARGEST_PAGE: Final = 500
_DIGEST_SIZE: Final = 64
_HEX: Final = frozenset("0123456789abcdef")

_VERDICTS: Final = {
    Verdict.YES: assessment_pb2.VERDICT_YES,
    Verdict.NO: assessment_pb2.VERDICT_NO,
    Verdict.UNSURE: assessment_pb2.VERDICT_UNSURE,
}
_FALLBACKS: Final = {
    Fallback.NONE: assessment_pb2.FALLBACK_REASON_UNSPECIFIED,
    Fallback.NO_ADAPTER: assessment_pb2.FALLBACK_REASON_NO_ADAPTER,
    Fallback.ADAPTER_FAILED: assessment_pb2.FALLBACK_REASON_ADAPTER_FAILED,
}
_STATES: Final = {
    AdapterState.REGISTERED: pb.ADAPTER_STATE_REGISTERED,
    AdapterState.LOADING: pb.ADAPTER_STATE_LOADING,
    AdapterState.ACTIVE: pb.ADAPTER_STATE_ACTIVE,
    AdapterState.RETIRED: pb.ADAPTER_STATE_RETIRED,
    AdapterState.FAILED: pb.ADAPTER_STATE_FAILED,
}


def item(message: pb.Input, field: str) -> Item:
    """Read one input.

    Raises:
        InvalidArgument: its brand is not a name.
    """
    context = message.context
    surrounding = tuple(text for text in (context.parent_text, context.post_text, context.event) if text)
    brand = parse_brand(message.brand, f"{field}.brand")
    return Item(brand, message.text, message.language, surrounding, message.explain, message.private)


def items(request: pb.BatchClassifyRequest) -> list[Item | ApaiseError]:
    """Read a batch; an input that cannot be read is its error."""
    return [_item_or_error(message, f"inputs[{n}]") for n, message in enumerate(request.inputs)]


def _item_or_error(message: pb.Input, field: str) -> Item | ApaiseError:
    try:
        return item(message, field)
    except ApaiseError as error:
        return error


def revision(message: pb.Adapter) -> Revision:
    """Read a revision to activate.

    Raises:
        InvalidArgument: a field is missing or malformed.
    """
    name = ADAPTER.parse(message.name, "adapter.name")
    if not message.artifact_uri or len(message.artifact_uri) > 2048:
        raise invalid_field("adapter.artifact_uri", "must be the URI of a folder, at most 2048 characters")
    if len(message.digest) != _DIGEST_SIZE or not set(message.digest) <= _HEX:
        raise invalid_field("adapter.digest", "must be a SHA-256 in lower-case hexadecimal")
    if not message.encoder or len(message.encoder) > 128:
        raise invalid_field("adapter.encoder", "must be the digest of the encoder it was trained on")
    return Revision(name.brand, name.id, message.artifact_uri, message.digest, message.encoder)


def canary(request: pb.SetCanaryRequest) -> tuple[str, Revision | None]:
    """Brand, and the revision that is to read a share of its messages.

    Raises:
        InvalidArgument: a field is missing or malformed, or the revision is of another brand.
    """
    brand = parse_brand(request.parent, "parent")
    if not request.HasField("adapter"):
        return brand, None
    given = revision(request.adapter)
    if given.brand != brand:
        raise invalid_field("adapter.name", "must belong to the brand in parent")
    return brand, given


def canary_response(found: tuple[Wish, Arms] | None) -> pb.GetCanaryResponse:
    """A canary and how it fares, or nothing."""
    if found is None:
        return pb.GetCanaryResponse()
    wish, arms = found
    assert wish.revision is not None
    return pb.GetCanaryResponse(
        adapter=ADAPTER.format(brand_of_lane(wish.brand), wish.revision.id),
        share=wish.share,
        generation=wish.generation,
        canary=_arm(arms.canary),
        champion=_arm(arms.champion),
    )


def _arm(arm: Arm) -> pb.CanaryArm:
    made = pb.CanaryArm(reads=arm.reads, failures=arm.failures, timed=arm.timed)
    made.p90.FromTimedelta(timedelta(seconds=percentile(arm.times, 0.9)))
    made.p95.FromTimedelta(timedelta(seconds=percentile(arm.times, 0.95)))
    return made


def rollback_target(request: pb.RollbackAdapterRequest) -> tuple[str, str | None]:
    """Brand and revision to go back to; None is the house.

    Raises:
        InvalidArgument: a name is malformed, or the revision is of another brand.
    """
    brand = parse_brand(request.parent, "parent")
    if not request.adapter:
        return brand, None
    name = ADAPTER.parse(request.adapter, "adapter")
    if name.brand != brand:
        raise invalid_field("adapter", "must belong to the brand in parent")
    return brand, name.id


def page(request: pb.ListAdaptersRequest) -> tuple[str, int, Place | None]:
    """Brand, page size and starting place of a list.

    Raises:
        InvalidArgument: a field is malformed.
    """
    brand = parse_brand(request.parent, "parent")
    size = request.page_size or _DEFAULT_PAGE
    if not 1 <= size <= _LARGEST_PAGE:
        raise invalid_field("page_size", f"must be 0 to {_LARGEST_PAGE}")
    at = cursor.decode(request.page_token, _scope(brand))
    return brand, size, Place(int(at["created"]), str(at["revision"])) if at else None


def precedents(request: pb.PutPrecedentsRequest) -> tuple[str, list[tuple[Precedent, str]]]:
    """Brand, and its precedents with their texts.

    Raises:
        InvalidArgument: a name is malformed or of another brand, or a time is missing.
    """
    brand = parse_brand(request.parent, "parent")
    return brand, [_precedent(one, brand, f"precedents[{n}]") for n, one in enumerate(request.precedents)]


def _precedent(message: pb.Precedent, brand: str, field: str) -> tuple[Precedent, str]:
    name = _of_brand(PRECEDENT.parse(message.name, f"{field}.name"), brand, f"{field}.name")
    about = _of_brand(MESSAGE.parse(message.message, f"{field}.message"), brand, f"{field}.message")
    if not message.HasField("review_time"):
        raise invalid_field(f"{field}.review_time", "must be when it was resolved")
    when = message.review_time.ToDatetime(UTC)
    given = Precedent(brand, name, about, message.author_key, dict(message.labels), message.private, when)
    return given, message.text


def precedent_ids(request: pb.DeletePrecedentsRequest) -> tuple[str, list[str]]:
    """Brand, and ids of its precedents.

    Raises:
        InvalidArgument: a name is malformed or of another brand.
    """
    brand = parse_brand(request.parent, "parent")
    fields = ((name, f"names[{n}]") for n, name in enumerate(request.names))
    return brand, [_of_brand(PRECEDENT.parse(name, field), brand, field) for name, field in fields]


def _of_brand(name: Name, brand: str, field: str) -> str:
    if name.brand != brand:
        raise invalid_field(field, "must belong to the brand in parent")
    return name.id


def adapters_response(brand: str, adapters: Sequence[Adapter], after: Place | None) -> pb.ListAdaptersResponse:
    """A page of adapters."""
    token = cursor.encode({"created": after.created, "revision": after.revision}, _scope(brand)) if after else ""
    return pb.ListAdaptersResponse(adapters=[adapter(one) for one in adapters], next_page_token=token)


def _scope(brand: str) -> str:
    return f"adapters/{brand}"


def assessment(given: Assessment) -> assessment_pb2.Assessment:
    """Write an assessment."""
    reading = given.reading
    edition = reading.edition
    return assessment_pb2.Assessment(
        labels={
            label: assessment_pb2.LabelScore(
                probability=score.probability,
                verdict=_VERDICTS[score.verdict],
                holds=score.holds,
                model_probability=score.model,
            )
            for label, score in given.labels.items()
        },
        language=given.language,
        truncated=reading.truncated,
        fallback=reading.fallback is not Fallback.NONE,
        fallback_reason=_FALLBACKS[reading.fallback],
        spans=[
            assessment_pb2.Span(label=span.label, start=span.start, end=span.end, weight=span.weight)
            for span in reading.spans
        ],
        provenance=assessment_pb2.Provenance(
            encoder=edition.encoder,
            adapter=edition.revision,
            thresholds=edition.thresholds_revision,
            normalizer=edition.normalizer,
            precedents=reading.precedent_set,
        ),
        precedents=[
            assessment_pb2.CitedPrecedent(review=one.review, similarity=one.similarity, labels=one.labels)
            for one in reading.precedents
        ],
    )


def results(given: Sequence[Assessment | ApaiseError]) -> pb.BatchClassifyResponse:
    """Write a batch's results, in order."""
    return pb.BatchClassifyResponse(results=[_result(one) for one in given])


def _result(given: Assessment | ApaiseError) -> pb.BatchClassifyResponse.Result:
    if isinstance(given, ApaiseError):
        return pb.BatchClassifyResponse.Result(status=status_of(given))
    return pb.BatchClassifyResponse.Result(status=status_ok(), assessment=assessment(given))


def vectors(given: Vectors) -> pb.EmbedResponse:
    """Write embeddings."""
    embeddings = [pb.EmbedResponse.Embedding(values=values) for values in given.values]
    return pb.EmbedResponse(embeddings=embeddings, encoder=given.encoder)


def adapter(given: Adapter) -> pb.Adapter:
    """Write an adapter."""
    return pb.Adapter(
        name=ADAPTER.format(given.revision.brand, given.revision.id),
        artifact_uri=given.revision.artifact_uri,
        digest=given.revision.digest,
        encoder=given.revision.encoder,
        state=_STATES[given.state],
        failure=given.failure,
        generation=given.generation,
        create_time=_timestamp(given.create_time),
        activate_time=_timestamp(given.activate_time),
    )


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    written = Timestamp()
    written.FromDatetime(moment)
    return written
