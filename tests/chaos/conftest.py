"""A mesh of its own for chaos: nobody else's tests run on what is being killed here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..e2e.conftest import Mesh


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    up = Mesh(tmp_path_factory.mktemp("chaos").resolve())
    try:
        up.json("up", "--detach", timeout=700)
        yield up
    finally:
        done = up.run("down")
        assert done.returncode == 0, done.stderr[-3000:]
