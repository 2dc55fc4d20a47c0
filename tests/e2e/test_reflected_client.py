"""A stranger's client, written with nothing but what the services tell about themselves."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from .conftest import Mesh
from .reflected import ReflectedClient

INGEST = "apaise.ingest.v1.IngestService"
ROUTE = "apaise.route.v1.RouteService"


@contextmanager
def client(mesh: Mesh, service: str) -> Iterator[ReflectedClient]:
    reflected = ReflectedClient(mesh.address(service), mesh.token("operator"))
    yield reflected
    reflected.close()


def test_it_can_submit_read_and_follow_decisions(mesh: Mesh) -> None:
    external_id = f"stranger-{secrets.token_hex(4)}"
    with client(mesh, "ingest") as ingest, client(mesh, "route") as route:
        assert INGEST in ingest.services()
        assert ROUTE in route.services()
        stream = route.follow(ROUTE, "FollowDecisions", {"parent": "brands/demo-retail", "cursor": "now"})
        assert "decision" not in next(stream)
        message = {
            "channel": "brands/demo-retail/channels/twitch-live",
            "external_id": external_id,
            "text": "elle existe en taille 44 cette robe ?",
            "author": {"platform_id": "stranger"},
        }
        receipt = ingest.call(INGEST, "SubmitMessage", {"message": message})["receipt"]
        followed = next(each["decision"] for each in stream if each["decision"]["external_id"] == external_id)
        read = ingest.call(INGEST, "GetMessage", {"name": receipt["message"]})
        listed = route.call(ROUTE, "ListDecisions", {"parent": receipt["message"]})["decisions"]
    assert read["message"]["text"] == message["text"]
    assert read["message"]["language"] == "fr"
    assert followed["message"] == receipt["message"]
    assert followed["cause"] == "CAUSE_AUTOMATIC"
    assert followed["provenance"]["encoder"]
    assert followed["clause"]
    assert [each["name"] for each in listed][-1] == followed["name"]


def test_a_stream_goes_on_where_it_was_left(mesh: Mesh) -> None:
    with client(mesh, "ingest") as ingest, client(mesh, "route") as route:
        stream = route.follow(ROUTE, "FollowDecisions", {"parent": "brands/demo-retail", "cursor": "now"})
        cursor = next(stream)["cursor"]
        ids = [f"resume-{secrets.token_hex(4)}" for _ in range(3)]
        for external_id in ids:
            message = {
                "channel": "brands/demo-retail/channels/facebook-comments",
                "external_id": external_id,
                "text": f"merci pour ce live {external_id}",
                "author": {"platform_id": "stranger"},
            }
            ingest.call(INGEST, "SubmitMessage", {"message": message})
        seen: dict[str, str] = {}
        while len(seen) < 3:
            again = route.follow(ROUTE, "FollowDecisions", {"parent": "brands/demo-retail", "cursor": cursor})
            # One decision a connection: a client that loses its stream after each.
            for answer in itertools.islice((each for each in again if "decision" in each), 1):
                cursor = answer["cursor"]
                if answer["decision"]["cause"] == "CAUSE_AUTOMATIC":
                    seen[answer["decision"]["external_id"]] = answer["decision"]["name"]
    assert set(ids) <= set(seen)
