"""Sending a recording and following its decisions at the same time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import grpc

from apaise.ingest.v1 import ingest_service_pb2 as ingest_pb
from apaise.ingest.v1 import ingest_service_pb2_grpc as ingest_rpc
from apaise.route.v1 import decision_pb2
from apaise.route.v1 import route_service_pb2 as route_pb
from apaise.route.v1 import route_service_pb2_grpc as route_rpc
from apaise_cli.errors import CliError
from apaise_cli.remote import explain_failure
from apaise_cli.replay.recording import Entry, due
from apaise_cli.replay.tally import Seen, Tally
from apaise_cli.replay.wire import to_message
from apaise_kit.runtime.status import Failure, failure_of, failure_of_status

_BATCH: Final = 100
_BATCH_BYTES: Final = 3_000_000
_SENDERS: Final = 4
_TICK: Final = 0.05
_RETRY_SECONDS: Final = 0.5
_ASK_AFTER: Final = 3.0
_ASK_AT_ONCE: Final = 50


@dataclass(frozen=True)
class Options:
    """How to replay.

    Attributes:
        speed: times faster than recorded; None as fast as ingest takes it.
        patience: seconds without any progress after which what is missing counts as lost, and a mesh that does not
            answer as gone.
    """

    speed: float | None
    patience: float = 60.0


class Replay:
    """One replay under way. `progress(sent, decided)` is called as it moves."""

    def __init__(
        self,
        ingest: grpc.aio.Channel,
        route: grpc.aio.Channel,
        options: Options,
        progress: Callable[[int, int], None] = lambda sent, decided: None,
    ) -> None:
        self._ingest = ingest_rpc.IngestServiceStub(ingest)
        self._route = route_rpc.RouteServiceStub(route)
        self._options = options
        self._progress = progress
        self._moved_at = time.time()
        self.tally = Tally()

    async def run(self, passes: Sequence[Sequence[Entry]]) -> Tally:
        """Send every message, one pass after the other, and wait until each has its decision, or none has come for the
        patience given.

        Raises:
            CliError: when the mesh does not answer for as long as the patience.
        """
        following = asyncio.Event()
        follower = asyncio.create_task(self._follow(following))
        try:
            await self._until(following.wait(), follower)
            self.tally.first_sent = time.time()
            for entries in passes:
                await self._until(self._send_all(entries), follower)
            await self._until(self._settle(), follower)
        finally:
            follower.cancel()
            with contextlib.suppress(asyncio.CancelledError, CliError):
                await follower
        return self.tally

    async def _until(self, work: Coroutine[Any, Any, object], follower: asyncio.Task[None]) -> None:
        """Do some work, unless the follower fails first: without it nothing could be counted."""
        task = asyncio.create_task(work)
        await asyncio.wait({task, follower}, return_when=asyncio.FIRST_COMPLETED)
        if follower.done():
            task.cancel()
            follower.result()
        task.result()

    # Sending

    async def _send_all(self, entries: Sequence[Entry]) -> None:
        queue: asyncio.Queue[list[Entry]] = asyncio.Queue(maxsize=_SENDERS)
        started = time.monotonic()
        try:
            async with asyncio.TaskGroup() as senders:
                tasks = [senders.create_task(self._sender(queue)) for _ in range(_SENDERS)]
                for moment, batch in batches(entries, due(entries, self._options.speed)):
                    await asyncio.sleep(max(0.0, started + moment - time.monotonic()))
                    await queue.put(batch)
                await queue.join()
                for task in tasks:
                    task.cancel()
        except* CliError as failures:
            raise failures.exceptions[0] from None

    async def _sender(self, queue: asyncio.Queue[list[Entry]]) -> None:
        while True:
            batch = await queue.get()
            self.tally.sent += len(batch)
            await self._deliver([ingest_pb.SubmitMessageRequest(message=to_message(entry)) for entry in batch])
            queue.task_done()

    async def _deliver(self, requests: list[ingest_pb.SubmitMessageRequest]) -> None:
        """Submit until each is accepted or refused for good. Redelivery is harmless: ingest is idempotent.

        Raises:
            CliError: when ingest does not answer, or takes no more while nothing gets decided, for the whole patience.
        """
        sent_at = time.time()
        while requests:
            try:
                answer = await self._ingest.BatchSubmitMessages(ingest_pb.BatchSubmitMessagesRequest(requests=requests))
            except grpc.aio.AioRpcError as error:
                obstacle: Failure | None = failure_of(error)
            else:
                requests, obstacle = self._read_results(requests, answer, sent_at)
            if obstacle is not None:
                if not obstacle.transient or time.time() - max(sent_at, self._moved_at) > self._options.patience:
                    raise explain_failure(obstacle)
                await asyncio.sleep(_delay(obstacle))

    def _read_results(
        self,
        requests: list[ingest_pb.SubmitMessageRequest],
        answer: ingest_pb.BatchSubmitMessagesResponse,
        sent_at: float,
    ) -> tuple[list[ingest_pb.SubmitMessageRequest], Failure | None]:
        """Count a batch's results; give what must be sent again, with the refusal that asks for the longest wait."""
        again, obstacles = [], []
        for request, result in zip(requests, answer.results, strict=True):
            failure = failure_of_status(result.status)
            if failure is None:
                receipt = result.receipt
                accepted_at = _accepted_at(receipt, sent_at)
                self.tally.accepted(receipt.message, receipt.edit_revision, accepted_at, receipt.duplicate)
            elif failure.transient:
                again.append(request)
                obstacles.append(failure)
            else:
                self.tally.refused(failure.reason or failure.code.name)
        if len(again) < len(requests):
            self._moved()
        return again, max(obstacles, key=_delay, default=None)

    # Following

    async def _follow(self, following: asyncio.Event) -> None:
        """Count decisions as they come; a stream that breaks goes on from its last cursor."""
        cursor, broken_since = "now", cast("float | None", None)
        while True:
            try:
                stream = self._route.FollowDecisions(route_pb.FollowDecisionsRequest(parent="brands/-", cursor=cursor))
                async for response in stream:
                    cursor, broken_since = response.cursor, None
                    following.set()
                    if response.HasField("decision"):
                        self._take(response.decision)
            except grpc.aio.AioRpcError as error:
                failure, now = failure_of(error), time.monotonic()
                broken_since = broken_since or now
                if not failure.transient or now - broken_since > self._options.patience:
                    raise explain_failure(failure) from error
            await asyncio.sleep(_RETRY_SECONDS)

    def _take(self, decision: decision_pb2.Decision) -> None:
        if decision.cause != decision_pb2.CAUSE_AUTOMATIC:
            return
        self.tally.decided(
            Seen(
                name=decision.name,
                message=decision.message,
                edit_revision=decision.edit_revision,
                at=time.time(),
                visibility=decision_pb2.Visibility.Name(decision.visibility).removeprefix("VISIBILITY_"),
                queue=_queue_name(decision.queue),
                provisional=decision.absence in _PROVISIONAL,
            )
        )
        self._moved()

    def _moved(self) -> None:
        self._moved_at = time.time()
        self._progress(self.tally.sent, self.tally.decided_so_far)

    async def _settle(self) -> None:
        self._moved_at = time.time()
        while self.tally.undecided and (quiet := time.time() - self._moved_at) < self._options.patience:
            if quiet > _ASK_AFTER or not self.tally.awaited:
                await self._ask_about_the_missing()
            await asyncio.sleep(_TICK if self.tally.awaited else _RETRY_SECONDS)

    async def _ask_about_the_missing(self) -> None:
        """What does not come on the stream may have been decided before we followed: ask route itself."""
        missing, before = self.tally.undecided, self.tally.decided_so_far
        for start in range(0, len(missing), _ASK_AT_ONCE):
            await asyncio.gather(*(self._ask(*key) for key in missing[start : start + _ASK_AT_ONCE]))
        if self.tally.decided_so_far > before:
            self._moved()
        else:
            await asyncio.sleep(_RETRY_SECONDS)

    async def _ask(self, message: str, edit_revision: int) -> None:
        try:
            answer = await self._route.ListDecisions(route_pb.ListDecisionsRequest(parent=message, page_size=500))
        except grpc.aio.AioRpcError as error:
            failure = failure_of(error)
            if failure.transient or failure.code is grpc.StatusCode.NOT_FOUND:
                return  # route has not seen it yet, or is being restarted: asked again while there is patience
            raise explain_failure(failure) from error
        automatic = [
            decision.name
            for decision in answer.decisions
            if decision.cause == decision_pb2.CAUSE_AUTOMATIC and decision.edit_revision == edit_revision
        ]
        self.tally.found(message, edit_revision, automatic)


# Decided under the failure policy; an attachment without text is no failure.
_PROVISIONAL: Final = (
    decision_pb2.ASSESSMENT_ABSENCE_UNAVAILABLE,
    decision_pb2.ASSESSMENT_ABSENCE_TOO_LATE,
    decision_pb2.ASSESSMENT_ABSENCE_DEAD_LETTER,
)


def _queue_name(queue: decision_pb2.Queue.ValueType) -> str:
    return "NONE" if queue == decision_pb2.QUEUE_UNSPECIFIED else decision_pb2.Queue.Name(queue).removeprefix("QUEUE_")


def _accepted_at(receipt: ingest_pb.Receipt, sent_at: float) -> float:
    """When ingest accepted, by its own clock if that agrees with ours, else when we learnt of it."""
    now, said = time.time(), receipt.received_time.ToNanoseconds() / 1e9
    return said if sent_at <= said <= now else now


def _delay(failure: Failure) -> float:
    return failure.retry_after.total_seconds() if failure.retry_after else _RETRY_SECONDS


def batches(entries: Sequence[Entry], moments: Sequence[float]) -> Iterator[tuple[float, list[Entry]]]:
    """Messages due within the same twentieth of a second, together, within ingest's limits. In order."""
    batch: list[Entry] = []
    opened, size = 0.0, 0
    for entry, moment in zip(entries, moments, strict=True):
        weight = len(entry.text.encode()) + 1024
        if batch and (moment - opened > _TICK or len(batch) >= _BATCH or size + weight > _BATCH_BYTES):
            yield opened, batch
            batch, size = [], 0
        opened = opened if batch else moment
        batch.append(entry)
        size += weight
    if batch:
        yield opened, batch
