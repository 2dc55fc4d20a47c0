"""Counting what became of every message."""

from __future__ import annotations

from apaise_cli.replay.tally import Seen, Tally, quantile_ms


def seen(message: str = "m", at: float = 1.0, name: str = "d1", **more: object) -> Seen:
    fields = {"edit_revision": 1, "visibility": "KEEP", "queue": "NONE", "provisional": False, **more}
    return Seen(name=name, message=message, at=at, **fields)  # type: ignore[arg-type]


def tally(*accepted: str) -> Tally:
    made = Tally(sent=len(accepted), first_sent=0.0)
    for message in accepted:
        made.accepted(message, 1, at=0.5, duplicate=False)
    return made


def test_every_message_decided_once() -> None:
    made = tally("a", "b")
    made.decided(seen("a", at=1.0))
    made.decided(seen("b", at=2.5, visibility="HIDE", queue="CARE", provisional=True))
    report = made.report()
    assert (report["sent"], report["decided"], report["lost"], report["duplicated"]) == (2, 2, 0, 0)
    assert (report["provisional"], report["visibility"], report["queue"]) == (
        1,
        {"KEEP": 1, "HIDE": 1},
        {"NONE": 1, "CARE": 1},
    )
    assert (report["p50_ms"], report["p99_ms"]) == (500.0, 2000.0)
    assert report["msgs_per_s"] == 0.8


def test_a_message_without_decision_is_lost() -> None:
    made = tally("a", "b")
    made.decided(seen("a"))
    assert made.undecided == [("b", 1)]
    assert made.awaited
    assert made.report()["lost"] == 1


def test_two_automatic_decisions_of_one_revision_are_a_duplicate() -> None:
    made = tally("a")
    made.decided(seen("a", name="d1"))
    made.decided(seen("a", name="d2"))
    assert made.report()["duplicated"] == 1


def test_the_same_decision_said_again_by_a_resumed_stream_is_none() -> None:
    made = tally("a")
    made.decided(seen("a"))
    made.decided(seen("a"))
    assert made.report()["duplicated"] == 0


def test_a_decision_of_another_revision_is_another_message() -> None:
    made = tally("a")
    made.decided(seen("a", edit_revision=2))
    assert made.report()["lost"] == 1


def test_a_decision_may_come_before_its_acknowledgement() -> None:
    made = Tally(sent=1, first_sent=0.0)
    made.decided(seen("a", at=0.4))
    made.accepted("a", 1, at=0.5, duplicate=False)
    report = made.report()
    assert (report["decided"], report["p50_ms"]) == (1, 0.0)


def test_other_peoples_decisions_do_not_count() -> None:
    made = tally("a")
    made.decided(seen("someone-elses"))
    assert made.report()["decided"] == 0


def test_a_redelivery_is_not_awaited_and_found_by_asking() -> None:
    made = Tally(sent=1)
    made.accepted("a", 1, at=0.0, duplicate=True)
    assert made.undecided == [("a", 1)]
    assert not made.awaited
    made.found("a", 1, ["d1"])
    report = made.report()
    assert (report["decided"], report["lost"], report["redelivered"]) == (1, 0, 1)
    assert report["p50_ms"] is None


def test_what_was_found_by_asking_and_then_streamed_is_one_decision() -> None:
    made = tally("a")
    made.found("a", 1, ["d1"])
    made.decided(seen("a", name="d1"))
    assert made.report()["duplicated"] == 0


def test_refusals_are_counted_by_reason() -> None:
    made = Tally(sent=3)
    for reason in ("EMPTY_MESSAGE", "NOT_FOUND", "NOT_FOUND"):
        made.refused(reason)
    assert made.report()["refusals"] == {"NOT_FOUND": 2, "EMPTY_MESSAGE": 1}
    assert made.report()["refused"] == 3


def test_quantiles_are_of_the_nearest_rank() -> None:
    assert quantile_ms([], 0.5) is None
    assert quantile_ms([0.003, 0.001, 0.002], 0.5) == 2.0
    assert quantile_ms([i / 1000 for i in range(1, 101)], 0.99) == 99.0
