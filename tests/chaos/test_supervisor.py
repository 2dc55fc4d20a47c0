"""The supervisor itself is killed: nobody restarts anything any more, and `apaise up` brings everything back."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime

import pytest

from apaise_cli.home import Home

from ..e2e.conftest import SAMPLES, Mesh
from .background import started
from .books import Books
from .faults import wait_for


@pytest.mark.timeout(1200)
def test_up_again_after_the_death_of_the_supervisor_loses_nothing(mesh: Mesh) -> None:
    books, began = Books(Home(mesh.home)), datetime.now(UTC)
    before = sum(books.states().values())
    with started(mesh, "replay", str(SAMPLES / "event.jsonl"), "--speed", "max", "--patience", "180") as replay:
        wait_for(lambda: books.assessed(began) > 0, "messages are decided", 120)
        os.kill(int((mesh.home / "run/supervisord.pid").read_text()), signal.SIGKILL)
        assert mesh.run("status").returncode == 1
        mesh.json("up", "--detach", timeout=600)
        code, report, said = replay.result(timeout=500)
    assert code == 0, (report, said)
    assert (report["lost"], report["duplicated"], report["refused"]) == (0, 0, 0)
    wait_for(lambda: set(books.states()) == {"DECIDED"}, "everything is decided", 300)
    assert sum(books.states().values()) == before + report["sent"]
    assert books.not_decided_exactly_once() == []
    assert books.never_reassessed() == []
    assert mesh.json("status")["ready"]
