"""How a mesh is shown to people: progress while it starts, a table when it stands."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from apaise_cli.home import Home
from apaise_cli.mesh.lifecycle import Row
from apaise_cli.mesh.plan import Process

_STYLE: Final = {"ready": "green", "starting": "yellow", "stopping": "yellow", "stopped": "dim", "waiting": "dim"}
_MARK: Final = {"ready": "✔", "starting": "…", "stopping": "…", "stopped": "·", "waiting": "·"}


class LiveProgress:
    """Progress on stderr: a table that moves on a terminal, one line per change elsewhere."""

    def __init__(self, console: Console, processes: Sequence[Process], first: str = "waiting") -> None:
        self._console = console
        self._rows = {p.name: (p.what, first, "") for p in processes}
        self._began = time.monotonic()
        self._live = Live(console=console, transient=True, get_renderable=self._render, refresh_per_second=4)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def update(self, name: str, state: str, detail: str = "") -> None:
        """See `lifecycle.Progress`."""
        what, before, _ = self._rows.get(name, (name, "", ""))
        self._rows[name] = (what, state, detail)
        if not self._console.is_terminal and state != before:
            elapsed = time.monotonic() - self._began
            self._console.print(f"{elapsed:6.1f} s  {name}: {state}", markup=False)

    def _render(self) -> Table:
        grid = Table.grid(padding=(0, 2))
        for name, (what, state, detail) in self._rows.items():
            style = _STYLE.get(state, "")
            grid.add_row(
                Text(_MARK.get(state, " "), style), name, Text(what, "dim"), Text(state, style), Text(detail, "dim")
            )
        grid.add_row("", "", Text(f"{time.monotonic() - self._began:.0f} s", "dim"))
        return grid


def table(rows: Sequence[Row]) -> Table:
    """The status, for people."""
    shown = Table(box=None, padding=(0, 2))
    for heading in ("process", "state", "health", "pid", "address"):
        shown.add_column(heading, no_wrap=True)
    for row in rows:
        document = row.document()
        style = "green" if row.health.ready else "dim" if row.state == "STOPPED" else "red"
        address = _address(row) if row.info and row.info.running else ""
        shown.add_row(
            row.process.name, row.state.lower(), Text(row.health.answer, style), str(document["pid"] or ""), address
        )
    return shown


def addresses(home: Home) -> dict[str, str]:
    """Where each thing of a mesh is reached."""
    return {name: f"127.0.0.1:{port}" for name, port in home.ports.items() if not name.startswith("ray_")}


def _address(row: Row) -> str:
    if row.port is None:
        return ""
    return f"http://127.0.0.1:{row.port}" if row.process.name == "mlflow" else f"127.0.0.1:{row.port}"
