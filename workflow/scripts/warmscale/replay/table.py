"""A CSV file of somebody else as rows of text, each with the line that it stands in."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from .errors import at, must_be
from .values import is_grouped, number_hint

DELIMITERS = ",;\t"
COMMENT = "#"


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    number: int
    """Line of the file, from 1."""
    cells: dict[str, str]
    """{column: text without spaces around it}."""


@dataclass(frozen=True)
class Table:
    """A table of text."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_table(path: Path, problems: list[str], notes: list[str]) -> Table | None:
    """Read a CSV file with a header; None, and what is wrong as problems, where it is none.

    Comma, semicolon or tab, whichever the header has most; lines that begin with # and empty lines are left out, and so
    are columns without a name (a spreadsheet's or a data frame's index), with a note.
    """
    lines = _read_lines(path, problems)
    if lines is None:
        return None
    before = len(problems)
    records = _records(path, lines, problems)
    if len(problems) > before:
        return None
    if len(records) < 2:
        what = "has a header, and no row below it" if records else "is empty"
        problems.append(f"{at(path)}: {what}: it must have a header and a row a line")
        return None
    (_, header), *body = records
    columns = tuple(name.strip() for name in header)
    problems += _wrong_header(path, columns)
    problems += [
        f"{at(path, row)}: has {len(cells)} {'field' if len(cells) == 1 else 'fields'}, the header has {len(columns)}"
        for row, cells in body
        if len(cells) != len(columns)
    ]
    if len(problems) > before:
        return None
    if not all(columns):
        notes.append(f"{path}: a column without a name is left out")
    rows = tuple(
        Row(row, {name: cell.strip() for name, cell in zip(columns, cells, strict=True) if name}) for row, cells in body
    )
    return Table(path, tuple(filter(None, columns)), rows)


def _read_lines(path: Path, problems: list[str]) -> list[str] | None:
    """Lines of a text file, comments emptied so that the others keep their numbers."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        problems.append(f"{at(path)}: cannot be read: {error.strerror}")
        return None
    except UnicodeDecodeError as error:
        problems.append(f"{at(path)}: is no UTF-8 text at byte {error.start}: save it as CSV in UTF-8")
        return None
    lines = re.split("\r\n|\r|\n", text)
    return ["" if line.lstrip().startswith(COMMENT) else line for line in lines]


def _records(path: Path, lines: list[str], problems: list[str]) -> list[tuple[int, list[str]]]:
    """(line, fields) of every row that is not empty."""
    header = next((line for line in lines if line.strip()), "")
    outside_quotes = re.sub(r'"[^"]*"', "", header)
    delimiter = max(DELIMITERS, key=outside_quotes.count)
    reader = csv.reader(io.StringIO("\n".join(lines), newline=""), delimiter=delimiter, strict=True)
    records, start = [], 1
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                records.append((start, fields))
            start = reader.line_num + 1
    except csv.Error as error:
        problems.append(f"{at(path, start)}: is no CSV: {error}")
    return records


def _wrong_header(path: Path, columns: tuple[str, ...]) -> list[str]:
    twice = [name for name, count in Counter(columns).items() if name and count > 1]
    lines = [f"{at(path)}: has the column {name} twice: rename one or take it out" for name in twice]
    if not any(columns):
        lines.append(f"{at(path)}: has no names of columns: the first line must have them")
    return lines


def wrong_level(path: Path, row: int, column: str, text: str) -> list[str]:
    """A level that is a number with separators of thousands would be text, and equal to no number of the config."""
    return (
        [f"{at(path, row, column)}: {must_be(text, 'a number or text')}{number_hint(text)}"] if is_grouped(text) else []
    )
