"""What goes wrong, said once, in one line, with the way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class CliError(Exception):
    """A refusal or failure a person can act on. Ends the command with exit code 1.

    Args:
        message: what happened, without any message text, handle or secret.
        way_out: what to do about it; may be empty when the message says it.
        code: a short upper-case word for programs (`NO_MESH`, `NOT_FOUND`).
        reason: the service's machine reason, when a service refused.
        details: more for programs, shown with `--json` only.
    """

    def __init__(
        self,
        message: str,
        way_out: str = "",
        *,
        code: str = "FAILED",
        reason: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.way_out = way_out
        self.code = code
        self.reason = reason
        self.details = dict(details or {})

    def line(self) -> str:
        """The one line people read."""
        reason = f" [{self.reason}]" if self.reason else ""
        way_out = f" {self.way_out}" if self.way_out else ""
        return f"{self.message}{reason}{way_out}"

    def document(self) -> dict[str, Any]:
        """The same for programs."""
        fields = {"code": self.code, "reason": self.reason, "message": self.message, "way_out": self.way_out}
        return {"error": {key: value for key, value in {**fields, **self.details}.items() if value}}


class Refused(CliError):
    """The command did its work and the answer is no (a gate, a lint, lost messages): its result is still shown."""

    def __init__(self, message: str, document: Mapping[str, Any]) -> None:
        super().__init__(message, code="REFUSED")
        self._document = dict(document)

    def document(self) -> dict[str, Any]:
        """The result itself: programs read the verdict in it, and the exit code."""
        return self._document
