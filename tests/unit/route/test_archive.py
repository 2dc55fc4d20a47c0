"""An exhibit can be read, and checked, without this software."""

from __future__ import annotations

import hashlib
import json

from apaise_route.adapters.charter_yaml import default_charter
from apaise_route.domain.archive import exhibit_of, illegal_clauses, unlawful
from apaise_route.domain.model import Attachment, Author
from apaise_route.domain.thread import Thread
from apaise_route.testing import START, entry, reading


def test_an_exhibit_names_everything_in_words_and_its_digest_is_of_its_bytes() -> None:
    found = entry(
        reading(at={"hate": 0.98, "threat": 0.98}),
        text="canari « é »\n",
        author=Author("p1", "Someone", "k1", roles=("vip",)),
        attachments=(Attachment(1, "https://example.org/a.png", "une image"),),
    )
    default = default_charter()
    decision = Thread("b", "m").route(found, default, START, lambda: "i")
    clause = unlawful(decision, illegal_clauses(default.charter))
    exhibit = exhibit_of(found.message, found.channel, found.assessment, decision, clause, lambda: "e")
    assert (exhibit.clause, exhibit.author_key) == ("illegal-incitement", "k1")
    assert exhibit.digest == hashlib.sha256(exhibit.content.encode()).hexdigest()
    document = json.loads(exhibit.content)
    assert document["format"] == "apaise-exhibit/1"
    assert document["message"]["text"] == "canari « é »\n"
    assert document["message"]["received_time"] == START.isoformat()
    assert document["message"]["author"]["roles"] == ["vip"]
    assert document["message"]["attachments"][0]["uri"] == "https://example.org/a.png"
    assert document["channel"]["kind"] == "LIVE_CHAT"
    assert document["decision"]["ruling"]["visibility"] == "HIDE"
    assert document["decision"]["charter_digest"] == default.digest


def test_what_no_illegal_clause_asks_is_not_unlawful() -> None:
    default = default_charter()
    decision = Thread("b", "m").route(entry(reading(["threat", "remove"])), default, START, lambda: "i")
    assert unlawful(decision, illegal_clauses(default.charter)) == ""
