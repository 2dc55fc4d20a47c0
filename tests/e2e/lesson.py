"""A moderator who resolves a brand's review queue with decisions made beforehand, over plain RPCs."""

from __future__ import annotations

import secrets
import time
from typing import Any

import yaml

from .conftest import Mesh
from .reflected import ReflectedClient

REVIEW = "apaise.route.v1.ReviewService"
CHARTER = "apaise.route.v1.CharterService"
INGEST = "apaise.ingest.v1.IngestService"


def teach(mesh: Mesh, brand: str, rows: list[dict[str, Any]]) -> None:
    """Submit every text, let everything go to review, and resolve it as the rows say."""
    lead = ReflectedClient(mesh.address("route"), mesh.token("lead"))
    ingest = ReflectedClient(mesh.address("ingest"), mesh.token("operator"))
    _review_everything(lead, brand)
    tag = secrets.token_hex(4)
    answers = {f"lesson-{tag}-{number}": row for number, row in enumerate(rows)}
    _submit(ingest, brand, answers)
    deadline = time.monotonic() + 120
    while answers:
        assert time.monotonic() < deadline, f"{len(answers)} messages never came to review"
        listed = lead.call(REVIEW, "ListReviewItems", {"parent": f"brands/{brand}", "page_size": 100})
        items = [each for each in listed.get("review_items", ()) if each["message"]["external_id"] in answers]
        for item in items:
            _resolve(lead, item, answers.pop(item["message"]["external_id"]))
        if not items:
            time.sleep(0.2)
    lead.close()
    ingest.close()


def _review_everything(lead: ReflectedClient, brand: str) -> None:
    active = lead.call(CHARTER, "GetCharter", {"name": f"brands/{brand}/charters/active"})["charter"]
    source = yaml.safe_dump({**yaml.safe_load(active["source"]), "audit_share": 1.0}, allow_unicode=True)
    created = lead.call(CHARTER, "CreateCharter", {"parent": f"brands/{brand}", "charter": {"source": source}})
    lead.call(CHARTER, "ActivateCharter", {"name": created["charter"]["name"]})


def _submit(ingest: ReflectedClient, brand: str, answers: dict[str, dict[str, Any]]) -> None:
    todo = dict(answers)
    while todo:
        batch = list(todo)[:60]
        requests = [
            {
                "message": {
                    "channel": f"brands/{brand}/channels/twitch-live",
                    "external_id": external_id,
                    "text": todo[external_id]["text"],
                    "author": {"platform_id": external_id},
                }
            }
            for external_id in batch
        ]
        results = ingest.call(INGEST, "BatchSubmitMessages", {"requests": requests})["results"]
        for external_id, result in zip(batch, results, strict=True):
            if "receipt" in result:
                del todo[external_id]
        if len(todo) and "receipt" not in results[-1]:
            time.sleep(0.3)


def _resolve(lead: ReflectedClient, item: dict[str, Any], row: dict[str, Any]) -> None:
    claimed = lead.call(REVIEW, "ClaimReviewItem", {"name": item["name"]})["review_item"]
    now = claimed["decision"]["visibility"]
    right = now in ("VISIBILITY_HIDE", "VISIBILITY_DELETE") if row["remove"] else now == "VISIBILITY_KEEP"
    request: dict[str, Any] = {
        "name": item["name"],
        "etag": claimed["etag"],
        "resolution": "RESOLUTION_CONFIRM" if right else "RESOLUTION_CORRECT",
        "request_id": secrets.token_hex(8),
    }
    if not right:
        visibility = "VISIBILITY_HIDE" if row["remove"] else "VISIBILITY_KEEP"
        request["correction"] = {"visibility": visibility, "labels": row.get("labels") or {}}
    lead.call(REVIEW, "ResolveReviewItem", request)
