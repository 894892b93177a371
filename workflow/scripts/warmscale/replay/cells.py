"""Summaries of cells from CSV: what most papers publish."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from .errors import at, must_be, no_column
from .names import OF_CELL
from .paths import Found
from .records import Gathered, RawCell, name_of
from .table import Row, Table, read_table, wrong_level
from .units import Reading, check_metric, percent_factor, read_metric
from .values import measured, number_hint, whole

NEEDED = ("n", "mean", "sd")


def read_cells(files: Sequence[Found], gathered: Gathered) -> None:
    """Add the cells of these files, or what is wrong with them."""
    for file in files:
        if table := read_table(file.path, gathered.problems, gathered.notes):
            missing = [name for name in NEEDED if name not in table.columns]
            gathered.problems += [f"{at(table.path)}: {no_column(name, table.columns)}" for name in missing]
            if not missing:
                _read_rows(table, file.levels, gathered)


def _read_rows(table: Table, levels: dict[str, str], gathered: Gathered) -> None:
    problems: list[str] = []
    names = [name for name in table.columns if name in gathered.wanted.known or name not in OF_CELL]
    settings = gathered.wanted.settings(names)
    cells = []
    for row in table.rows:
        for name in settings:
            problems += wrong_level(table.path, row.number, name, row.cells[name])
        found = {name: row.cells[name] or None for name in settings}
        cells.append(_read_row(table, row, levels | found, gathered, problems))
    if not problems:
        problems += _check_numbers(table, cells, gathered)
    gathered.problems += problems
    if not problems:
        gathered.cells += [_in_percent(cell, gathered) for cell in cells]
        gathered.notes += _treatments(cells)


def _read_row(table: Table, row: Row, settings: dict, gathered: Gathered, problems: list[str]) -> RawCell:
    n = _count(table, row, "n", problems)
    diverged = _count(table, row, "diverged", problems) if row.cells.get("diverged") else 0
    mean = read_metric(table.path, row, "mean", problems)
    sd = read_metric(table.path, row, "sd", problems)
    problems += [f"{at(table.path, row.number, column)}: {what}" for column, what in _wrong(n, mean, sd, diverged, row)]
    return RawCell(
        source=name_of(table.path),
        settings=settings,
        metric=row.cells.get("metric") or gathered.wanted.metrics[0],
        n=n or 0,
        mean=mean if n else math.nan,
        sd=sd,
        diverged=diverged or 0,
        where=at(table.path, row.number),
    )


def _count(table: Table, row: Row, column: str, problems: list[str]) -> int | None:
    text = row.cells[column]
    value = whole(text)
    if value is None:
        hint = number_hint(text)
        problems.append(f"{at(table.path, row.number, column)}: {must_be(text, 'a whole number')}{hint}")
    return value


def _wrong(n: int | None, mean: float, sd: float, diverged: int | None, row: Row) -> list[tuple[str, str]]:
    """(column, what is wrong) of numbers that could be read; n of 0 is right where all runs diverged."""
    found = []
    if n is not None and n < 1 and not (n == 0 and diverged):
        found.append(("n", f"is {n}, must be 1 or more"))
    if diverged is not None and diverged < 0:
        found.append(("diverged", f"is {diverged}, must be 0 or more"))
    if n and not math.isfinite(mean) and measured(row.cells["mean"]) is not None:
        found.append(("mean", must_be(row.cells["mean"], f"a number where n is {n}")))
    if sd < 0 or math.isinf(sd):
        found.append(("sd", f"is {sd:g}, must be 0 or more"))
    elif n and n > 1 and math.isnan(sd) and measured(row.cells["sd"]) is not None:
        found.append(("sd", must_be(row.cells["sd"], f"a number where n is {n}")))
    return found


def _check_numbers(table: Table, cells: Sequence[RawCell], gathered: Gathered) -> list[str]:
    by_metric: dict[str, list[Reading]] = {}
    for cell in cells:
        by_metric.setdefault(cell.metric, []).append(Reading(cell.mean, f"{cell.where}, column mean"))
    return [
        line
        for metric, readings in by_metric.items()
        for line in check_metric(at(table.path), metric, readings, gathered.wanted)
    ]


def _in_percent(cell: RawCell, gathered: Gathered) -> RawCell:
    factor = percent_factor(cell.metric, gathered.wanted)
    sd = factor * cell.sd if cell.n > 1 else math.nan
    return replace(cell, mean=factor * cell.mean, sd=sd)


def _treatments(cells: Sequence[RawCell]) -> list[str]:
    """What is done with cells that are right, but of which less is known than of others."""
    notes = [f"{cell.where}: the sd of one run is ignored" for cell in cells if cell.n == 1 and not math.isnan(cell.sd)]
    unresolved = "sd of 0 is below the resolution of the metric; tests borrow the spread of the other cells"
    return notes + [f"{cell.where}: {unresolved}" for cell in cells if cell.n > 1 and cell.sd == 0]
