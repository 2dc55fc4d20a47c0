"""The sample data as the demo uses it."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from apaise_cli.replay.recording import Entry

CHANNELS = {"demo-retail": "twitch-live", "demo-esport": "twitch-live", "demo-kids": "youtube-live"}
"""Each sample brand's live chat."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What a moderator of the brand decides about a text."""

    text: str
    remove: bool
    labels: dict[str, bool] = field(default_factory=dict)


def path(*parts: str) -> Path:
    """A file of the samples."""
    return Path(str(importlib.resources.files("mlops").joinpath("samples", *parts)))


def corrections(brand: str) -> list[Correction]:
    """A brand's moderators' decisions."""
    rows = _rows(path("corrections", f"{brand}.jsonl"))
    return [Correction(row["text"], row["remove"], row.get("labels") or {}) for row in rows]


def probes() -> list[str]:
    """Texts the brands' cultures should decide differently; in no other sample file."""
    return [row["text"] for row in _rows(path("probes.jsonl"))]


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def written_now(brand: str, texts: Sequence[str], prefix: str) -> list[Entry]:
    """Texts as messages just written in the brand's live chat, one person each."""
    start = datetime.now(UTC) - timedelta(seconds=len(texts))
    return [
        Entry(
            number=number,
            brand=brand,
            channel=CHANNELS[brand],
            external_id=f"{prefix}-{brand}-{number:04d}",
            text=text,
            published=start + timedelta(seconds=number),
            author={"platform_id": f"{prefix}-{number}", "display_name": "", "follows_page": None, "roles": []},
        )
        for number, text in enumerate(texts)
    ]
