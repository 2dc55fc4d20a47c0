"""Labelled files as people have them: CSV, TSV or JSON lines, plain or gzipped."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

_SHOWN: Final = 8


class FileProblem(ValueError):
    """A file that cannot be evaluated: what is wrong with it, and in `way_out` what to do. Never a row's text."""

    def __init__(self, message: str, way_out: str) -> None:
        super().__init__(message)
        self.message = message
        self.way_out = way_out


@dataclass(frozen=True)
class Columns:
    """Which columns to read. `positive` is the label column's value, compared as text, that counts as YES."""

    text: str
    label: str
    positive: str
    group: str | None = None


@dataclass(frozen=True)
class Examples:
    """Texts with what is true of them; no `groups` without a group column; rows with no text or label are `skipped`."""

    texts: list[str]
    truth: list[bool]
    groups: list[str]
    skipped: int


def read_examples(path: Path, columns: Columns) -> Examples:
    """Read a whole file.

    Raises:
        FileProblem: it is missing, empty, malformed, lacks a column, or no row is positive.
    """
    texts: list[str] = []
    truth: list[bool] = []
    groups: list[str] = []
    seen: Counter[str] = Counter()
    skipped = 0
    for row in _rows(path, columns):
        text, label = as_text(row.get(columns.text)), as_text(row.get(columns.label))
        if not text.strip() or not label:
            skipped += 1
            continue
        seen[label] += 1
        texts.append(text)
        truth.append(label == columns.positive)
        if columns.group:
            groups.append(as_text(row.get(columns.group)))
    if not texts:
        raise FileProblem(f"{path.name} holds no row with a text and a label.", "Check the file and its columns.")
    if not any(truth):
        known = ", ".join(repr(value[:40]) for value, _ in seen.most_common(_SHOWN))
        raise FileProblem(
            f"No row has {columns.label} = {columns.positive!r}.",
            f"Values of that column: {known}. Give --positive one of them.",
        )
    return Examples(texts, truth, groups, skipped)


def as_text(value: Any) -> str:
    """A cell as `--positive` is compared with: JSON's own spelling for what is no string, "" for nothing."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _rows(path: Path, columns: Columns) -> Iterator[Mapping[str, Any]]:
    try:
        with _opened(path) as stream:
            rows = _json_rows(stream) if _is_json(path) else _csv_rows(stream, path)
            yield from _with_columns(rows, path, columns)
    except UnicodeDecodeError:
        raise FileProblem(f"{path.name} is not UTF-8.", "Save it as UTF-8 and try again.") from None
    except (gzip.BadGzipFile, EOFError):
        raise FileProblem(f"{path.name} is not a whole gzip file.", "Copy it again, or decompress it first.") from None
    except csv.Error as error:
        raise FileProblem(f"{path.name} is not readable as CSV: {error}.", "Check its quotes.") from None
    except OSError as error:
        raise FileProblem(f"{path} cannot be read: {error.strerror or error}.", "Check the path.") from None


def _with_columns(rows: Iterator[Mapping[str, Any]], path: Path, columns: Columns) -> Iterator[Mapping[str, Any]]:
    wanted = [name for name in (columns.text, columns.label, columns.group) if name]
    for number, row in enumerate(rows):
        missing = [name for name in wanted if name not in row] if number == 0 else []
        if missing:
            known = ", ".join(str(name) for name in row)
            raise FileProblem(f"{path.name} has no column {', '.join(map(repr, missing))}.", f"It has: {known}.")
        yield row


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _is_json(path: Path) -> bool:
    return any(suffix in (".jsonl", ".ndjson", ".json") for suffix in path.suffixes)


def _json_rows(stream: IO[str]) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise FileProblem(f"line {number} is not a JSON object.", "One object a line is expected.")
        yield row


def _csv_rows(stream: IO[str], path: Path) -> Iterator[Mapping[str, Any]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    header = stream.readline()
    tabs = ".tsv" in path.suffixes or ("\t" in header and "," not in header)
    delimiter = "\t" if tabs else ";" if header.count(";") > header.count(",") else ","
    if not header.strip():
        raise FileProblem(f"{path.name} is empty.", "A header line and at least one row are expected.")
    names = next(csv.reader([header], delimiter=delimiter, strict=True))
    yield from csv.DictReader(stream, fieldnames=names, delimiter=delimiter, strict=True)
