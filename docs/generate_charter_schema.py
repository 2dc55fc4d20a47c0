"""Write services/route/src/apaise_route/charter.schema.json from the tables the charter reader uses."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from apaise_route.adapters.charter_schema import text

FILE: Final = Path(__file__).parents[1] / "services/route/src/apaise_route/charter.schema.json"

if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
