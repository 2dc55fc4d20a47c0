"""`python -m apaise_route.bench`: what deciding costs in this process, on one core, beside its CEL program alone.

*decide* is the whole decision from a message and its assessment; *program* is the compiled conditions on facts that
were made before. Messages, probabilities and channels are made up from a seed: what is measured is how many clauses
are read, not what they find. Seconds are those of the processor, so that what else the machine does does not count.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from apaise_kit.core.labels import LABELS
from apaise_route.adapters.charter_yaml import compile_charter
from apaise_route.domain.charter import CompiledCharter
from apaise_route.domain.decide import decide, facts
from apaise_route.domain.model import ChannelKind, Moderation, RouteInput
from apaise_route.testing import START, entry, reading

CLAUSES: Final = 60
MESSAGES: Final = 2000
_TEXTS: Final = ("bonjour à tous", "toujours pas reçu ma commande", "gg wp", "vous avez en 44 ?", "c'est honteux")


def source(clauses: int = CLAUSES) -> str:
    """A charter of so many clauses: verdicts, thresholds, facts of message and author, a word list."""
    kinds = (
        "yes.{0} && labels.{1} >= 0.8",
        "labels.{0} >= 0.9 || (yes.{1} && !yes.banter)",
        "unsure.{0} && message.moderation == 'PRE'",
        "yes.{0} && author.account_age_days >= 0 && author.account_age_days < 7",
        "lists.words && labels.{0} >= 0.5",
    )
    lines = ["name: bench", "language: fr", "audit_share: 0", "lists: {words: {words: [honteux, arnaque]}}", "clauses:"]
    for number in range(clauses):
        when = kinds[number % len(kinds)].format(LABELS[number % 38], LABELS[(number * 7 + 3) % 38])
        ends = ("queue: care", "visibility: HOLD", "queue: moderator", "review: true")[number % 4]
        words = f"explain: {{fr: Règle {number}}}"
        lines.append(f'  - {{id: c{number}, when: "{when}", {ends}, priority: {number}, {words}}}')
    return "\n".join(lines) + "\n"


def entries(number: int = MESSAGES, seed: int = 7) -> list[RouteInput]:
    """Made-up messages with all labels, most of them low."""
    chance = random.Random(seed)
    return [
        entry(
            reading(at={label: round(chance.random() ** 4, 3) for label in LABELS}),
            id=f"m{at}",
            text=chance.choice(_TEXTS),
            kind=chance.choice(list(ChannelKind)),
            moderation=chance.choice(list(Moderation)),
            received_time=START + timedelta(seconds=at),
        )
        for at in range(number)
    ]


def per_second(step: Callable[[Any], object], given: Sequence[Any], seconds: float) -> float:
    """How many of these one core does in a second, over whole passes that take at least so long."""
    for each in given[:100]:
        step(each)
    done, started = 0, time.process_time()
    while time.process_time() - started < seconds:
        for each in given:
            step(each)
        done += len(given)
    return done / (time.process_time() - started)


def measure(compiled: CompiledCharter, seconds: float) -> dict[str, Any]:
    """The figures."""
    given = entries()
    read = [facts(one, compiled.charter, compiled.words.matches(one.message.text)) for one in given]
    program = per_second(compiled.conditions.evaluate, read, seconds)
    whole = per_second(lambda one: decide(one, compiled, START, 0.5), given, seconds)
    return {
        "clauses": len(compiled.charter.clauses),
        "program_per_s": round(program),
        "decide_per_s": round(whole),
        "decide_to_program": round(whole / program, 3),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """One JSON document on stdout."""
    parser = argparse.ArgumentParser(prog="python -m apaise_route.bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="least time of each measure")
    parser.add_argument("--source", action="store_true", help="print the charter instead")
    options = parser.parse_args(arguments)
    document = (
        {"source": source()}
        if options.source
        else measure(compile_charter(source(), "brands/bench/charters/1"), options.seconds)
    )
    sys.stdout.write(json.dumps(document) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
