"""Batches gathered across callers: what waits while batches are away makes the next one.

Nothing waits while the replicas are idle: a lone message leaves at once. Under load the replicas' own pace forms the
batches, so their size follows the load without a timer. Brands take turns, a few rows each, and within a brand its
callers, so that neither a raid on one brand nor a call of 500 rows holds up the others. Rows nobody waits for any more
are forgotten. What waits is bounded; beyond that a caller is told when to come back.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Generic, TypeVar

from apaise_kit.core.errors import ResourceExhausted

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741

_TURN: Final = 8
_SMOOTHING: Final = 0.2
_FIRST_RATE: Final = 100.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes of batches and of what may wait.

    Attributes:
        rows: rows of one batch.
        weight: summed weight of one batch (characters); a heavier single row travels alone.
        under_way: batches given to the replicas at once.
        waiting: rows that may wait; one call is always let in when nothing waits.
    """

    rows: int = 64
    weight: int = 32_768
    under_way: int = 2
    waiting: int = 2048


@dataclass(eq=False)
class _Call(Generic[O]):
    """One caller: the answers that came."""

    answers: list[O | None]
    missing: int
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(eq=False)
class _Part(Generic[I, O]):
    """One caller's rows of one brand, not yet sent: place among the answers, and the row."""

    call: _Call[O]
    todo: deque[tuple[int, I]] = field(default_factory=deque)


@dataclass(frozen=True, slots=True)
class _Ticket(Generic[I, O]):
    call: _Call[O]
    index: int
    item: I


class Batcher(Generic[I, O]):
    """A queue in front of a function that takes batches."""

    def __init__(
        self,
        run: Callable[[list[I]], Awaitable[Sequence[O]]],
        limits: Limits,
        weigh: Callable[[I], int],
        brand: Callable[[I], str] = lambda _: "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """An empty queue.

        Args:
            run: answers a batch, one output per input in order.
            limits: sizes.
            weigh: weight of one row.
            brand: whose row it is: brands take turns.
            clock: seconds, monotonic.
        """
        self._run = run
        self._limits = limits
        self._weigh = weigh
        self._brand = brand
        self._clock = clock
        self._brands: OrderedDict[str, deque[_Part[I, O]]] = OrderedDict()
        self._waiting = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._rate = _FIRST_RATE

    @property
    def waiting(self) -> int:
        """Rows not yet sent."""
        return self._waiting

    async def submit(self, items: Sequence[I]) -> list[O]:
        """Answers of `items`, in order.

        Raises:
            ResourceExhausted: too much waits; `retry_after` is how long what waits will take.
            Exception: what `run` raised for a batch some of these rows were in.
        """
        if not items:
            return []
        if self._waiting and self._waiting + len(items) > self._limits.waiting:
            seconds = min(10.0, max(0.1, self._waiting / self._rate))
            raise ResourceExhausted(
                "More is waiting than can be read in time. Come back a little later, or send less at once.",
                retry_after=timedelta(seconds=round(seconds, 2)),
            )
        call: _Call[O] = _Call([None] * len(items), len(items))
        parts = self._enqueued(call, items)
        self._dispatch()
        try:
            await call.done
        finally:
            self._forget(parts)
        return [answer for answer in call.answers if answer is not None]

    def _enqueued(self, call: _Call[O], items: Sequence[I]) -> list[_Part[I, O]]:
        parts: dict[str, _Part[I, O]] = {}
        for index, item in enumerate(items):
            brand = self._brand(item)
            if brand not in parts:
                parts[brand] = _Part(call)
                self._brands.setdefault(brand, deque()).append(parts[brand])
            parts[brand].todo.append((index, item))
        self._waiting += len(items)
        return list(parts.values())

    def _forget(self, parts: Sequence[_Part[I, O]]) -> None:
        """Rows nobody waits for any more: the call was cancelled, or failed with a batch of its own."""
        for part in parts:
            self._waiting -= len(part.todo)
            part.todo.clear()

    def _dispatch(self) -> None:
        while self._waiting and len(self._tasks) < self._limits.under_way:
            tickets = self._next_batch()
            # A context of its own: a batch belongs to many callers, so no one's deadline or trace is its.
            task = asyncio.create_task(self._answer(tickets), context=contextvars.Context())
            self._tasks.add(task)
            task.add_done_callback(self._finished)
            _cancel_when_deserted(task, tickets)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._dispatch()

    def _next_batch(self) -> list[_Ticket[I, O]]:
        """The next rows, a few of a brand's next caller at a time; at least one."""
        tickets: list[_Ticket[I, O]] = []
        weight = 0
        while self._brands:
            brand, parts = self._brands.popitem(last=False)
            part = parts.popleft()
            for _ in range(_TURN):
                if not part.todo:
                    break
                weight += self._weigh(part.todo[0][1])
                if tickets and (len(tickets) >= self._limits.rows or weight > self._limits.weight):
                    parts.appendleft(part)
                    self._brands[brand] = parts
                    self._brands.move_to_end(brand, last=False)
                    return tickets
                tickets.append(_Ticket(part.call, *part.todo.popleft()))
                self._waiting -= 1
            if part.todo:
                parts.append(part)
            if parts:
                self._brands[brand] = parts
        return tickets

    async def _answer(self, tickets: list[_Ticket[I, O]]) -> None:
        started = self._clock()
        try:
            answers = await self._run([ticket.item for ticket in tickets])
        except Exception as error:
            for ticket in tickets:
                if not ticket.call.done.done():
                    ticket.call.done.set_exception(error)
            return
        pace = len(tickets) * self._limits.under_way / max(self._clock() - started, 1e-3)
        self._rate += _SMOOTHING * (pace - self._rate)
        for ticket, answer in zip(tickets, answers, strict=True):
            call = ticket.call
            call.answers[ticket.index] = answer
            call.missing -= 1
            if not call.missing and not call.done.done():
                call.done.set_result(None)


def _cancel_when_deserted(task: asyncio.Task[None], tickets: Sequence[_Ticket[I, O]]) -> None:
    """Take a batch back from the replicas once every caller in it has gone."""
    calls = {ticket.call for ticket in tickets}

    def left(_: asyncio.Future[None]) -> None:
        if all(call.done.done() for call in calls):
            task.cancel()

    for call in calls:
        call.done.add_done_callback(left)
