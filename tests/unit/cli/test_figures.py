"""How shares of few and of many are shown."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from apaise.route.v1 import figures_service_pb2 as pb
from apaise_cli.commands.figures import tables

ENOUGH = pb.Rate(count=12, hits=9, low=0.4677, high=0.9111)
FEW = pb.Rate(count=3, hits=2)


def shown(found: pb.GetFiguresResponse) -> str:
    page = io.StringIO()
    Console(file=page, width=160).print(*tables(found))
    return page.getvalue()


@pytest.mark.parametrize(
    ("rate", "words"), [(ENOUGH, "75 % of 12 (47–91 %)"), (FEW, "2 of 3: not enough"), (pb.Rate(), "none")]
)
def test_a_share_says_of_how_many_and_how_surely(rate: pb.Rate, words: str) -> None:
    person = pb.ReviewerFigures(actor="ana", golden=rate)
    assert words in shown(pb.GetFiguresResponse(reviewers=[person]))
    assert words in shown(pb.GetFiguresResponse(clauses=[pb.ClauseFigures(clause="insult", agreement=rate)]))
