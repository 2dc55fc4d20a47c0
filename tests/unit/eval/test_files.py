"""Files as people have them, and what is said about those that cannot be read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from mlops.eval import Columns, FileProblem, read_examples

COLUMNS = Columns("text", "gold", "hateful", "lang")
ROWS = [("un texte, avec virgule", "hateful", "fr"), ('two\nlines and "quotes"', "fine", "en"), ("  ", "fine", "en")]


def as_csv(path: Path, separator: str = ",") -> Path:
    quoted = [separator.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in ROWS]
    path.write_text("\n".join([separator.join(["text", "gold", "lang"]), *quoted]) + "\n", encoding="utf-8-sig")
    return path


def as_jsonl(path: Path) -> Path:
    path.write_text("\n\n".join(json.dumps(dict(zip(("text", "gold", "lang"), row, strict=True))) for row in ROWS))
    return path


def packed(path: Path) -> Path:
    target = path.with_name(path.name + ".gz")
    target.write_bytes(gzip.compress(path.read_bytes()))
    return target


@pytest.mark.parametrize("kind", ["csv", "semicolons", "tsv", "jsonl", "csv.gz", "jsonl.gz"])
def test_the_same_rows_in_every_format(tmp_path: Path, kind: str) -> None:
    path = {
        "csv": lambda: as_csv(tmp_path / "a.csv"),
        "semicolons": lambda: as_csv(tmp_path / "a.csv", ";"),
        "tsv": lambda: as_csv(tmp_path / "a.tsv", "\t"),
        "jsonl": lambda: as_jsonl(tmp_path / "a.jsonl"),
        "csv.gz": lambda: packed(as_csv(tmp_path / "a.csv")),
        "jsonl.gz": lambda: packed(as_jsonl(tmp_path / "a.jsonl")),
    }[kind]()
    examples = read_examples(path, COLUMNS)
    assert examples.texts == [ROWS[0][0], ROWS[1][0]]
    assert examples.truth == [True, False]
    assert examples.groups == ["fr", "en"]
    assert examples.skipped == 1


@pytest.mark.parametrize(("value", "positive"), [(1, "1"), (True, "true"), ("1", "1"), (0.5, "0.5")])
def test_positive_compares_as_text(tmp_path: Path, value: object, positive: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"t": "a", "l": value}) + "\n" + json.dumps({"t": "b", "l": None}))
    assert read_examples(path, Columns("t", "l", positive)).truth == [True]


@pytest.mark.parametrize(
    ("content", "columns", "message", "way_out"),
    [
        (b"", COLUMNS, "is empty", "header"),
        (b"\n", COLUMNS, "is empty", "header"),
        (b"text,gold,lang\n", COLUMNS, "holds no row", "columns"),
        (b"words,gold,lang\na,hateful,fr\n", COLUMNS, "no column 'text'", "words, gold, lang"),
        (b"text,gold,lang\na,fine,fr\n", COLUMNS, "No row has gold = 'hateful'", "'fine'"),
        (b'text,gold,lang\n"a,hateful,fr\n', COLUMNS, "not readable as CSV", "quotes"),
        ("text,gold,lang\né,hateful,fr\n".encode("latin-1"), COLUMNS, "not UTF-8", "UTF-8"),
    ],
)
def test_a_bad_csv_says_what_is_wrong_and_what_to_do(
    tmp_path: Path, content: bytes, columns: Columns, message: str, way_out: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(FileProblem) as problem:
        read_examples(path, columns)
    assert message in problem.value.message
    assert way_out in problem.value.way_out


@pytest.mark.parametrize("content", [b"[1, 2]\n", b'{"text": "a"', b"text\n"])
def test_a_bad_json_line_is_named_by_number(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "a", "gold": "hateful", "lang": "fr"}\n' + content)
    with pytest.raises(FileProblem, match="line 2"):
        read_examples(path, COLUMNS)


def test_a_missing_file_and_a_broken_gzip_are_told(tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match="cannot be read"):
        read_examples(tmp_path / "none.csv", COLUMNS)
    broken = tmp_path / "a.csv.gz"
    broken.write_bytes(gzip.compress(b"text,gold,lang\n" * 50)[:30])
    with pytest.raises(FileProblem, match="gzip"):
        read_examples(broken, COLUMNS)
    broken.write_bytes(b"not gzip at all")
    with pytest.raises(FileProblem, match="gzip"):
        read_examples(broken, COLUMNS)
