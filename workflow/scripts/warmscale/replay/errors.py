"""What can be wrong with files of somebody else: one line each, with file, row, column, value and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..study.errors import closest, shown


class ReplayError(Exception):
    """What is wrong with the sources of a replay, one line a finding; its text is all lines."""

    def __init__(self, lines: Iterable[str]):
        self.lines = list(dict.fromkeys(" ".join(line.split()) for line in lines))
        super().__init__("\n".join(self.lines))


def at(path: object, row: int | None = None, column: str | None = None) -> str:
    """Where something stands: `runs.csv, row 3, column top1`; rows are counted as lines, the first is 1."""
    place = f"{path}" if row is None else f"{path}, row {row}"
    return place if column is None else f"{place}, column {column}"


def must_be(value: object, allowed: str) -> str:
    """Say that a value is none that may stand there."""
    return f"is {shown(value)}, must be {allowed}" if value != "" else f"is empty, must be {allowed}"


def no_column(name: str, columns: Sequence[str]) -> str:
    """Say that a column is missing, naming the one that was probably meant."""
    close = closest(name, columns)
    return f"has no column {name}" + (f"; did you mean {close}?" if close else f"; columns it has: {listed(columns)}")


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names in a line, the first ones where they are many."""
    names = list(names)
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")
