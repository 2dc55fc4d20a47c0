"""A loop outlives a database that goes away for a while."""

from __future__ import annotations

import pytest

from apaise_kit.core.caller import current_caller
from apaise_kit.core.errors import Unavailable
from apaise_route.app.clocks import every


async def test_a_step_is_repeated_until_it_breaks_for_good() -> None:
    seen: list[str] = []

    async def step() -> None:
        seen.append(current_caller().actor)
        if len(seen) == 1:
            raise Unavailable("later")
        if len(seen) == 3:
            raise RuntimeError("for good")

    with pytest.raises(RuntimeError):
        await every(0.001, step)
    assert seen == ["system:route"] * 3
