"""The platform rules shipped with this release: `data/platforms.yaml`."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from apaise_route.domain.model import Audience, ChannelKind
from apaise_route.domain.platforms import LegVerdict, PlatformRule, Quota, Rules

_UNITS = {"m": 60, "h": 3600, "d": 86_400}


@cache
def platform_rules() -> Rules:
    """By platform, in the order they are looked at."""
    document = yaml.safe_load(files("apaise_route").joinpath("data", "platforms.yaml").read_text(encoding="utf-8"))
    return {platform: tuple(_rule(entry) for entry in entries) for platform, entries in document.items()}


def _rule(entry: dict[str, Any]) -> PlatformRule:
    quota, read_on = entry.get("quota"), entry["date"]
    return PlatformRule(
        id=entry["id"],
        audience=Audience[entry["audience"]],
        verdict=LegVerdict[entry["verdict"]],
        explanation=entry["explanation"],
        source=entry["source"],
        source_date=read_on if isinstance(read_on, date) else date.fromisoformat(read_on),
        kinds=frozenset(ChannelKind[kind] for kind in entry.get("kinds", ())),
        follows=entry.get("follows"),
        within=read_duration(entry["within"]) if "within" in entry else None,
        once=entry.get("once", False),
        quota=Quota(quota["most"], read_duration(quota["per"])) if quota else None,
    )


def read_duration(text: str) -> timedelta:
    """`20m`, `12h` or `7d`.

    Raises:
        ValueError: it is written otherwise.
    """
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not (number.isascii() and number.isdigit() and 0 < len(number) < 7):
        raise ValueError("a duration is a number and m, h or d, like 20m")
    return timedelta(seconds=int(number) * _UNITS[unit])
