"""For all tests: hypothesis must not judge how fast a shared machine is."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")
