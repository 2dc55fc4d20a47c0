"""What classify does, one function each. Callers are already known to see the brands named at the top of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from apaise_classify.domain.adapters import MAX_SHARE, Adapter, AdapterState, Progress, Revision, Wish, refusal
from apaise_classify.domain.arms import Arms
from apaise_classify.domain.assessment import Assessment, assess
from apaise_classify.domain.ports import AdapterStore, Place, PrecedentStore, Reader
from apaise_classify.domain.precedents import Precedent, check_labels, revision_of
from apaise_classify.domain.reading import Item, Vectors, check_batch, check_explained, check_text
from apaise_kit.core.caller import Caller, acting_as, system_caller
from apaise_kit.core.errors import ApaiseError, invalid_field
from apaise_kit.runtime.logs import get_logger

_FIRST_LOOK: Final = 0.01
_LONGEST_LOOK: Final = 0.05
_SWEEP_SECONDS: Final = 2.0
_log = get_logger(__name__)


async def classify(reader: Reader, caller: Caller, item: Item) -> Assessment:
    """Read one text.

    Raises:
        NotFound: the caller does not see the brand.
        InvalidArgument: the text cannot be read.
        ResourceExhausted, Unavailable: as `Reader.read`.
    """
    caller.require(item.brand)
    item.check("input")
    (reading,) = await reader.read([item.row()])
    return assess(reading, item.language)


async def batch_classify(
    reader: Reader, caller: Caller, items: Sequence[Item | ApaiseError], size: int
) -> list[Assessment | ApaiseError]:
    """Read many texts; one that cannot be read has its own error and hinders no other.

    Args:
        reader: the replicas.
        caller: who asks.
        items: what to read, or what was already found wrong with it.
        size: of the request, bytes.

    Raises:
        InvalidArgument: the batch is empty or too large.
        ResourceExhausted, Unavailable: as `Reader.read`.
    """
    check_batch(len(items), size, "inputs")
    check_explained(sum(isinstance(item, Item) and item.explain for item in items), "inputs")
    results: list[Assessment | ApaiseError | None] = [_refused(caller, item, n) for n, item in enumerate(items)]
    good = [(n, item) for n, item in enumerate(items) if results[n] is None and isinstance(item, Item)]
    readings = await reader.read([item.row() for _, item in good])
    for (n, item), reading in zip(good, readings, strict=True):
        results[n] = assess(reading, item.language)
    return [result for result in results if result is not None]


def _refused(caller: Caller, item: Item | ApaiseError, index: int) -> ApaiseError | None:
    if isinstance(item, ApaiseError):
        return item
    try:
        caller.require(item.brand)
        item.check(f"inputs[{index}]")
    except ApaiseError as error:
        return error
    return None


async def embed(reader: Reader, texts: Sequence[str], size: int) -> Vectors:
    """House vectors of texts.

    Raises:
        InvalidArgument: the batch is empty or too large, or a text is.
        ResourceExhausted, Unavailable: as `Reader.embed`.
    """
    check_batch(len(texts), size, "texts")
    for n, text in enumerate(texts):
        check_text(text, f"texts[{n}]")
    return await reader.embed(texts)


async def put_precedents(
    store: PrecedentStore, reader: Reader, brand: str, given: Sequence[tuple[Precedent, str]], size: int
) -> tuple[str, str]:
    """Have resolved messages, each with its text, decide their near-duplicates.

    Args:
        store: where they are kept, without their texts.
        reader: makes the vectors.
        brand: whose they are.
        given: what was resolved, and its text.
        size: of the request, bytes.

    Returns:
        The revision of the brand's set, and the digest of the encoder.

    Raises:
        InvalidArgument: the batch is empty or too large, or one of them is wrong.
        ResourceExhausted, Unavailable: as `Reader.trace`.
    """
    check_batch(len(given), size, "precedents")
    for n, (precedent, text) in enumerate(given):
        check_text(text, f"precedents[{n}].text")
        check_labels(precedent.labels, f"precedents[{n}].labels")
    traces = await reader.trace([text for _, text in given])
    rows = [(precedent, trace) for (precedent, _), trace in zip(given, traces.values, strict=True)]
    generation = await store.put(brand, rows, traces.encoder)
    await reader.nudge()
    return revision_of(generation), traces.encoder


async def delete_precedents(store: PrecedentStore, reader: Reader, brand: str, ids: Sequence[str]) -> str:
    """Take precedents back; the revision of the brand's set. Those that are not there are passed over.

    Raises:
        InvalidArgument: none or too many are named.
    """
    check_batch(len(ids), 0, "names")
    generation = await store.take_back(brand, ids)
    await reader.nudge()
    return revision_of(generation)


async def activate_adapter(store: AdapterStore, reader: Reader, revision: Revision, request_id: str) -> Adapter:
    """Have a revision serve its brand; answers once a replica does.

    When the caller stops waiting first, the wish stays and is settled without it.

    Raises:
        AlreadyExists: the id names another adapter.
        FailedPrecondition: ADAPTER_CORRUPT, ADAPTER_WRONG_ENCODER or ADAPTER_WRONG_SHAPE; what served still serves.
        Aborted: another activation or rollback of the brand took its place.
    """
    await _fulfil(store, reader, await store.wish(revision, request_id))
    adapter = await store.get(revision.brand, revision.id)
    if adapter.state is AdapterState.FAILED:
        raise refusal(adapter.failure, {"revision": revision.id})
    return adapter


async def rollback_adapter(
    store: AdapterStore, reader: Reader, brand: str, revision: str | None, request_id: str
) -> Adapter | None:
    """Go back to a revision that served before, or to the house (None).

    Raises:
        NotFound: there is no such revision.
        FailedPrecondition: (WRONG_STATE) it never served, or one of the ADAPTER reasons: it cannot be loaded any more.
        Aborted: another activation or rollback of the brand took its place.
    """
    await _fulfil(store, reader, await store.wish_back(brand, revision, request_id))
    return None if revision is None else await store.get(brand, revision)


async def set_canary(
    store: AdapterStore, reader: Reader, brand: str, revision: Revision | None, share: float, request_id: str
) -> int:
    """Have a revision read a share of its brand's messages; answers once a replica serves it. None: no canary any more.

    Raises:
        InvalidArgument: the share is not above 0 and at most 0.5.
        FailedPrecondition: ADAPTER_CORRUPT, ADAPTER_WRONG_ENCODER or ADAPTER_WRONG_SHAPE: there is no canary then.
        Aborted: another canary took its place.
    """
    if revision is not None and not 0 < share <= MAX_SHARE:
        raise invalid_field("share", f"must be above 0 and at most {MAX_SHARE}")
    generation = await store.set_canary(brand, revision, share, request_id)
    await reader.nudge()
    delay = _FIRST_LOOK
    while revision is not None:
        reached = await store.canary_settlement(brand, generation)
        if reached.progress is Progress.ACTIVE:
            break
        if reached.progress is Progress.FAILED:
            await store.set_canary(brand, None, 0.0, request_id)
            raise refusal(reached.failure, {"revision": revision.id})
        await asyncio.sleep(delay)
        delay = min(_LONGEST_LOOK, delay * 1.5)
    return generation


async def get_canary(store: AdapterStore, brand: str) -> tuple[Wish, Arms] | None:
    """A brand's canary and how it fares; None without one."""
    return await store.canary(brand)


async def get_adapter(store: AdapterStore, brand: str, revision: str) -> Adapter:
    """One revision.

    Raises:
        NotFound: there is none.
    """
    return await store.get(brand, revision)


async def list_adapters(
    store: AdapterStore, brand: str, limit: int, after: Place | None
) -> tuple[list[Adapter], Place | None]:
    """A page of a brand's revisions, newest first, and where the next one starts."""
    found = await store.page(brand, limit + 1, after)
    page = found[:limit]
    if len(found) <= limit:
        return page, None
    last = page[-1]
    return page, Place(round(last.create_time.timestamp() * 1_000_000), last.revision.id)


async def settle_forgotten(store: AdapterStore) -> None:
    """Settle, for ever, wishes whose caller stopped waiting or whose process died."""
    with acting_as(system_caller("classify")):
        while True:
            try:
                for wish in await store.unsettled():
                    await store.settle(wish.brand, wish.generation)
            except ApaiseError as error:
                _log.info("settling_put_off", reason=error.reason.value)
            await asyncio.sleep(_SWEEP_SECONDS)


async def _fulfil(store: AdapterStore, reader: Reader, wish: Wish) -> None:
    """Nudge the replicas, then look until the wish is settled; the call's own deadline ends the wait."""
    nudge = asyncio.create_task(reader.nudge())
    try:
        delay = _FIRST_LOOK
        while True:
            reached = await store.settle(wish.brand, wish.generation)
            if reached.progress is Progress.ACTIVE:
                return
            if reached.progress is Progress.FAILED:
                metadata = {"revision": wish.revision.id} if wish.revision else {}
                raise refusal(reached.failure, metadata)
            await asyncio.sleep(delay)
            delay = min(_LONGEST_LOOK, delay * 1.5)
    finally:
        nudge.cancel()
