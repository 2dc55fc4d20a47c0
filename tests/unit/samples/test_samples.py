"""The sample data keeps its promises: schema, counts, languages, and no text shared where none may be."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from apaise_kit.core.labels import LABELS

SAMPLES = Path(__file__).parents[3] / "mlops" / "samples"
CORRECTIONS = SAMPLES / "corrections"
CULTURES = ("demo-esport", "demo-kids")
TRAIN_FILES = [f"corrections/{culture}.jsonl" for culture in CULTURES]
HOLDOUT_FILES = [f"corrections/holdout-{culture}.jsonl" for culture in CULTURES]
FICTIONAL_PHONES = re.compile(r"06 39 98 \d\d \d\d|01 99 00 \d\d \d\d|07700 900\d{3}")
MARKERS = {
    "fr": {"le", "la", "les", "est", "une", "pas", "pour", "tu", "vous", "je", "j", "ma", "mon", "c", "des", "dans"},
    "en": {"the", "you", "is", "and", "my", "this", "that", "your", "with", "how", "what", "are", "it", "i"},
    "es": {"el", "los", "que", "qué", "una", "mi", "su", "y", "vete", "eres", "se", "dónde", "cómo", "en"},
}


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SAMPLES / name).read_text(encoding="utf-8").splitlines()]


def folded(text: str) -> str:
    """Lower case, without accents, punctuation, or stretched letters."""
    bare = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))
    return re.sub(r"(.)\1+", r"\1", re.sub(r"[^a-z0-9]+", " ", bare)).strip()


def trigrams(text: str) -> frozenset[str]:
    padded = f" {folded(text)} "
    return frozenset(padded[i : i + 3] for i in range(len(padded) - 2))


def similarity(left: frozenset[str], right: frozenset[str]) -> float:
    return len(left & right) / max(1, len(left | right))


def guessed_language(text: str) -> str:
    words = Counter(re.findall(r"\w+", text.lower()))
    return max(MARKERS, key=lambda language: sum(words[w] for w in MARKERS[language]))


def when(value: str) -> datetime:
    return datetime.fromisoformat(value.replace("Z", "+00:00")).astimezone(UTC)


@pytest.fixture(scope="module")
def event() -> list[dict[str, Any]]:
    return read("event.jsonl")


@pytest.fixture(scope="module")
def brands() -> dict[str, dict[str, Any]]:
    loaded = yaml.safe_load((SAMPLES / "brands.yaml").read_text(encoding="utf-8"))
    return {brand["id"]: brand for brand in loaded["brands"]}


def test_brands_have_a_live_chat_and_known_kinds(brands: dict[str, dict[str, Any]]) -> None:
    assert set(brands) == {"demo-retail", *CULTURES}
    kinds = {"LIVE_CHAT", "COMMENT", "PRIVATE_MESSAGE", "REVIEW", "EMAIL", "FORUM"}
    for brand in brands.values():
        channels = brand["channels"]
        assert len({c["id"] for c in channels}) == len(channels)
        assert any(c["kind"] == "LIVE_CHAT" for c in channels)
        for channel in channels:
            assert channel["kind"] in kinds
            assert channel["moderation"] in {"PRE", "POST"}
            private = channel["kind"] in {"PRIVATE_MESSAGE", "EMAIL"}
            assert channel["audience"] == ("PRIVATE" if private else "PUBLIC")


def test_event_lines_follow_the_schema(event: list[dict[str, Any]], brands: dict[str, dict[str, Any]]) -> None:
    channels = {c["id"] for c in brands["demo-retail"]["channels"]}
    required = {"brand", "channel", "external_id", "text", "published_time", "author", "event"}
    optional = {"thread", "parent", "language_hint", "attachments", "rating"}
    author_fields = {"platform_id", "display_name", "account_created_time", "follows_page", "roles"}
    for line in event:
        assert required <= set(line) <= required | optional
        assert line["brand"] == "demo-retail"
        assert line["channel"] in channels
        assert set(line["author"]) == author_fields
        assert line["text"].strip() or line["attachments"]
        assert when(line["author"]["account_created_time"]) < when(line["published_time"])
        assert line.get("rating", 1) in range(1, 6)
        for attachment in line.get("attachments", []):
            assert attachment["kind"] == "IMAGE"
            assert attachment["alt_text"]
            assert attachment["uri"].startswith("https://example.invalid/")


def test_event_ids_are_unique_times_rise_and_replies_follow_their_parent(event: list[dict[str, Any]]) -> None:
    assert 850 <= len(event) <= 950
    assert len({(line["channel"], line["external_id"]) for line in event}) == len(event)
    times = [when(line["published_time"]) for line in event]
    assert times == sorted(times)
    assert timedelta(minutes=38) < times[-1] - times[0] < timedelta(minutes=45)
    seen: set[tuple[str, str]] = set()
    for line in event:
        if "parent" in line:
            assert (line["channel"], line["parent"]) in seen
        seen.add((line["channel"], line["external_id"]))


def test_an_author_is_the_same_person_everywhere(event: list[dict[str, Any]]) -> None:
    versions: dict[str, set[str]] = defaultdict(set)
    for line in event:
        versions[line["author"]["platform_id"]].add(json.dumps(line["author"], sort_keys=True))
    assert len(versions) > 250
    assert all(len(v) == 1 for v in versions.values())


def test_event_has_a_raid_of_young_accounts(event: list[dict[str, Any]]) -> None:
    def age(line: dict[str, Any]) -> timedelta:
        return when(line["published_time"]) - when(line["author"]["account_created_time"])

    raid = [line for line in event if age(line) < timedelta(days=7) and not line["author"]["follows_page"]]
    raid_time = [when(line["published_time"]) for line in raid if line["channel"] == "twitch-live"]
    assert 70 <= len(raid) <= 100
    assert max(raid_time) - min(raid_time) < timedelta(minutes=5)
    assert len({line["author"]["platform_id"] for line in raid}) >= 20


def test_about_a_fifth_of_the_event_is_near_copies(event: list[dict[str, Any]]) -> None:
    seen: list[frozenset[str]] = []
    copies = 0
    for line in event:
        grams = trigrams(line["text"])
        if len(grams) < 4:
            continue
        copies += any(similarity(grams, other) >= 0.6 for other in seen)
        seen.append(grams)
    assert 0.15 <= copies / len(event) <= 0.25


def test_event_speaks_several_languages(event: list[dict[str, Any]]) -> None:
    hints = Counter(line["language_hint"] for line in event if "language_hint" in line)
    assert hints["fr"] > 200
    assert hints["en"] >= 15
    assert hints["es"] >= 5
    assert hints["de"] >= 2


@pytest.mark.parametrize("name", TRAIN_FILES + HOLDOUT_FILES)
def test_corrections_schema_counts_and_balance(name: str) -> None:
    rows = read(name)
    low, high = (320, 400) if name in TRAIN_FILES else (75, 90)
    assert low <= len(rows) <= high
    assert len({row["text"].casefold() for row in rows}) == len(rows)
    for row in rows:
        assert {"text", "remove"} <= set(row) <= {"text", "remove", "labels"}
        assert isinstance(row["remove"], bool)
        labels = row.get("labels", {})
        assert set(labels) <= set(LABELS) - {"remove"}
        assert all(isinstance(value, bool) for value in labels.values())
    assert 0.35 <= sum(row["remove"] for row in rows) / len(rows) <= 0.55


@pytest.mark.parametrize("name", TRAIN_FILES)
def test_corrections_are_french_first_then_english_and_spanish(name: str) -> None:
    rows = read(name)
    shares = {language: n / len(rows) for language, n in Counter(guessed_language(r["text"]) for r in rows).items()}
    assert shares["fr"] > 0.6
    assert shares["en"] > 0.1
    assert shares["es"] > 0.02


def test_the_two_cultures_disagree_on_the_texts_they_share() -> None:
    esport, kids = ({row["text"]: row["remove"] for row in read(name)} for name in TRAIN_FILES)
    shared = esport.keys() & kids.keys()
    assert len(shared) >= 35
    assert all(esport[text] != kids[text] for text in shared)


def test_probes_expect_opposite_decisions() -> None:
    probes = read("probes.jsonl")
    assert len(probes) == 40
    for probe in probes:
        assert probe["note"]
        assert set(probe["expected"]) == set(CULTURES)
        assert len({probe["expected"][culture]["remove"] for culture in CULTURES}) == 2


def test_no_text_is_nearly_repeated_across_files() -> None:
    """Holdouts, probes and the event hold nothing a training file holds; only the two training files share texts."""
    names = [*TRAIN_FILES, *HOLDOUT_FILES, "probes.jsonl", "event.jsonl"]
    grams = {name: [(row["text"], trigrams(row["text"])) for row in read(name)] for name in names}
    too_close = [
        (left, right, a, b)
        for left, right in combinations(names, 2)
        if (left, right) != (TRAIN_FILES[0], TRAIN_FILES[1])
        for a, ga in grams[left]
        for b, gb in grams[right]
        if len(ga) > 3 and similarity(ga, gb) >= 0.6
    ]
    assert too_close == []


def test_phone_numbers_and_links_are_fictional() -> None:
    names = [*TRAIN_FILES, *HOLDOUT_FILES, "probes.jsonl", "event.jsonl"]
    for text in (row["text"] for name in names for row in read(name)):
        for phone in re.findall(r"\b0\d(?: \d\d){4}\b|\b07\d{3} \d{6}\b", text):
            assert FICTIONAL_PHONES.fullmatch(phone), phone
        for host in re.findall(r"\b[\w-]+\.(?:com|fr|net|org|io|tv|gg|be)\b", text):
            pytest.fail(f"a host that may exist: {host}")
