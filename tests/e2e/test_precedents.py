"""Through the whole mesh: a moderator's one correction decides the next near-duplicate, and its undo gives it back."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Mesh
from .lesson import REVIEW, _resolve, _review_everything, _submit
from .reflected import ReflectedClient

CLASSIFY = "apaise.classify.v1.ClassifyService"
BRAND = "demo-retail"
PROMISED_SECONDS = 2.0
# What the house takes down and this brand's moderator lets be: nothing a precedent must not touch.
TEXT = "venez voir mes vidéos de collection sur ma chaîne, abonnez-vous les amis"
COPIES = ("Venez voir mes vidéos de collection sur ma chaîne, abonnez-vous les amis !!!", f"{TEXT} 🔥")


@pytest.fixture
def lead(mesh: Mesh) -> Any:
    client = ReflectedClient(mesh.address("route"), mesh.token("lead"))
    yield client
    client.close()


def read(reader: ReflectedClient, text: str) -> dict[str, Any]:
    request = {"input": {"brand": f"brands/{BRAND}", "text": text}}
    answer: dict[str, Any] = reader.call(CLASSIFY, "Classify", request)["assessment"]
    return answer


def removed(reader: ReflectedClient) -> list[bool]:
    """Of each copy, whether it would be taken down."""
    return [bool(read(reader, copy)["labels"]["remove"].get("holds")) for copy in COPIES]


def seconds_until(condition: Callable[[], bool], patience: float = 30.0) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < patience, "it never came"
        time.sleep(0.02)
    return time.monotonic() - started


def queued(lead: ReflectedClient, external_id: str) -> dict[str, Any]:
    """The review item of a message, once there is one."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        page = {"parent": f"brands/{BRAND}", "page_size": 200, "page_token": ""}
        while not found:
            listed = lead.call(REVIEW, "ListReviewItems", page)
            items = listed.get("review_items", ())
            found.extend(each for each in items if each["message"]["external_id"] == external_id)
            page["page_token"] = listed.get("next_page_token", "")
            if not page["page_token"]:
                break
        return bool(found)

    seconds_until(there)
    return found[0]


def test_one_correction_decides_near_duplicates_within_two_seconds_and_its_undo_gives_them_back(
    mesh: Mesh, lead: ReflectedClient, capsys: pytest.CaptureFixture[str]
) -> None:
    reader = ReflectedClient(mesh.address("classify"), mesh.token("service"))
    ingest = ReflectedClient(mesh.address("ingest"), mesh.token("operator"))
    assert all(removed(reader)), "the text must be one the house takes down"
    _review_everything(lead, BRAND)
    external_id = f"precedent-{secrets.token_hex(4)}"
    _submit(ingest, BRAND, {external_id: {"text": TEXT}})
    item = queued(lead, external_id)
    _resolve(lead, item, {"remove": False})
    took = seconds_until(lambda: not any(removed(reader)))
    cited = read(reader, COPIES[0])["precedents"][0]
    assert cited["labels"] == {"remove": False}
    assert cited["review"].startswith(f"brands/{BRAND}/reviews/")

    resolved = lead.call(REVIEW, "ListReviewItems", {"parent": f"brands/{BRAND}", "state": "REVIEW_STATE_RESOLVED"})
    (mine,) = [each for each in resolved["review_items"] if each["name"] == item["name"]]
    lead.call(REVIEW, "UndoResolution", {"name": mine["name"], "etag": mine["etag"]})
    back = seconds_until(lambda: all(removed(reader)))
    with capsys.disabled():
        print(f"correction → effective {took:.2f} s, undo → effective {back:.2f} s")
    assert took <= PROMISED_SECONDS
    assert back <= PROMISED_SECONDS
    reader.close()
    ingest.close()
