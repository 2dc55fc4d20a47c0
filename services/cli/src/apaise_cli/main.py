"""The `apaise` command: one process, one command, one exit code (0 done, 1 refused or failed, 2 usage)."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import typer

from apaise_cli.commands import (
    answer,
    archive,
    bench,
    case,
    charter,
    classify,
    demo,
    draft,
    evaluate,
    figures,
    forward,
    house,
    mesh,
    models,
    preflight,
    replay,
    review,
)
from apaise_cli.errors import CliError
from apaise_cli.screen import Screen, open_screen

app = typer.Typer(
    name="apaise",
    help="Answer anger without censoring it: conversational moderation that learns each brand's culture.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)
for _commands in (
    mesh,
    demo,
    classify,
    preflight,
    replay,
    review,
    case,
    draft,
    answer,
    figures,
    forward,
    archive,
    charter,
    models,
    house,
    evaluate,
    bench,
):
    _commands.register(app)


def entry() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    with open_screen(as_json="--json" in options) as screen:
        try:
            app(args=list(arguments), prog_name="apaise", obj=screen)
        except SystemExit as leaving:
            return _usage_code(screen, leaving)
        except KeyboardInterrupt:
            return _failed(screen, CliError("Interrupted.", code="INTERRUPTED"))
        except Exception as error:
            return _failed(screen, _explained(error))
    return 0


def _usage_code(screen: Screen, leaving: SystemExit) -> int:
    code = leaving.code if isinstance(leaving.code, int) else (1 if leaving.code else 0)
    if code == 2 and screen.as_json and not screen.emitted:
        screen.emit({"error": {"code": "USAGE", "message": "The command line is wrong; stderr says where."}})
    return code


def _failed(screen: Screen, error: CliError) -> int:
    if screen.as_json and not screen.emitted:
        screen.emit(error.document())
    screen.err.print(f"apaise: {error.line()}", style="red", markup=False, soft_wrap=True)
    for line in error.details.get("tail", ()):
        screen.err.print(f"  | {line}", style="dim", markup=False, soft_wrap=True)
    if os.environ.get("APAISE_DEBUG"):
        traceback.print_exception(error)
    return 2 if error.code == "USAGE" else 1


def _explained(error: Exception) -> CliError:
    """Any exception as one line and a way out."""
    if isinstance(error, CliError):
        return error
    from apaise_cli.remote import explain

    explained = explain(error)
    if explained is None:
        explained = CliError(
            f"{type(error).__name__}: {error}", "This is a fault of ours: APAISE_DEBUG=1 shows where.", code="INTERNAL"
        )
    explained.__cause__ = error
    return explained
