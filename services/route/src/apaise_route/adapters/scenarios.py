"""The scenarios of replies shipped with this release: `data/replies.yaml`."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml

from apaise_route.domain.replies import Scenarios


@cache
def scenarios() -> Scenarios:
    """By intent, posture, language."""
    found: Scenarios = yaml.safe_load(
        files("apaise_route").joinpath("data", "replies.yaml").read_text(encoding="utf-8")
    )
    return found
