"""The file of desks."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from apaise_route.adapters.desks import NO_DESK, DeskFile
from apaise_route.domain.cases import Tension
from apaise_route.domain.model import ChannelKind, Queue

GOOD = """\
desks:
  - brand: demo
    url: https://care.example/apaise
    reply_url: http://tools:8080/reply
    secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
    opens: [care, sales]
    delays: {live_chat: {calm: 20m, crisis: 5m}}
"""


def written(path: Path, text: str, at: int) -> Path:
    path.write_text(text, encoding="utf-8")
    os.utime(path, (at, at))
    return path


def test_a_desk_is_read(tmp_path: Path) -> None:
    desk = DeskFile(written(tmp_path / "d.yaml", GOOD, 1)).of("demo")
    assert (desk.url, desk.reply_url) == ("https://care.example/apaise", "http://tools:8080/reply")
    assert desk.opens == {Queue.CARE, Queue.SALES}
    assert desk.delays == {
        ChannelKind.LIVE_CHAT: {Tension.CALM: timedelta(minutes=20), Tension.CRISIS: timedelta(minutes=5)}
    }
    assert len(desk.key) == 24


def test_a_brand_without_one_and_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    desks = DeskFile(tmp_path / "d.yaml")
    assert desks.of("demo") is NO_DESK
    written(tmp_path / "d.yaml", GOOD, 1)
    assert desks.of("demo").url
    assert desks.of("other") is NO_DESK


def test_a_typo_keeps_the_last_good_desks(tmp_path: Path) -> None:
    desks = DeskFile(written(tmp_path / "d.yaml", GOOD, 1))
    written(tmp_path / "d.yaml", GOOD.replace("opens", "open"), 2)
    assert desks.of("demo").url
    written(tmp_path / "d.yaml", GOOD.replace("care.example", "new.example"), 3)
    assert desks.of("demo").url == "https://new.example/apaise"
    (tmp_path / "d.yaml").unlink()
    assert desks.of("demo") is NO_DESK


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("https://care.example/apaise", "ftp://care.example"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "short"),
        ("sales", "salse"),
        ("live_chat", "chat"),
        ("calm", "calme"),
        ("20m", "20"),
        ("brand: demo", "brands: demo"),
    ],
)
def test_a_wrong_file_is_refused_without_quoting_it(tmp_path: Path, good: str, bad: str) -> None:
    path = written(tmp_path / "d.yaml", GOOD.replace(good, bad), 1)
    with pytest.raises(ValueError, match="not a file of desks") as refused:
        DeskFile(path)
    assert "whsec" not in str(refused.value)


def test_a_desk_does_not_show_its_key(tmp_path: Path) -> None:
    desk = DeskFile(written(tmp_path / "d.yaml", GOOD, 1)).of("demo")
    assert "key" not in repr(desk)
