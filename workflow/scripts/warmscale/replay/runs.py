"""Runs from CSV, a row a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..study.errors import closest
from .errors import at, must_be
from .paths import Found
from .records import STATES, Gathered, RawRun, name_of, state_of
from .table import Row, Table, read_table, wrong_level
from .units import Reading, check_metric, percent_factor, read_metric
from .values import measured, number_hint, whole

TEXTS = ("device_name", "status", "org")
"""Columns that are kept as they are."""


def read_runs(files: Sequence[Found], gathered: Gathered) -> None:
    """Add the runs of these files, or what is wrong with them."""
    for file in files:
        table = read_table(file.path, gathered.problems, gathered.notes)
        if table and not set(gathered.wanted.metrics) & set(table.columns):
            gathered.problems.append(f"{at(table.path)}: {gathered.wanted.no_metric(table.columns)}")
        elif table:
            _read_rows(table, file.levels, gathered)


def _read_rows(table: Table, levels: dict[str, str], gathered: Gathered) -> None:
    problems: list[str] = []
    wanted = gathered.wanted
    numbers = read_metrics(table, gathered, problems)
    columns = (*levels, *table.columns)
    decides = next(metric for metric in wanted.metrics if metric in numbers)
    runs = []
    for index, row in enumerate(table.rows):
        row = Row(row.number, levels | row.cells)
        metrics = {name: values[index] for name, values in numbers.items()}
        given = read_state(table, row, problems)
        if given == "finished" and not math.isfinite(metrics[decides]) and measured(row.cells[decides]) is not None:
            problems.append(f"{at(table.path, row.number, decides)}: is no number, and state is finished")
        runs.append(
            RawRun(
                source=name_of(table.path),
                settings=read_settings(table, row, wanted.settings(columns), problems),
                state=given or state_of(metrics[decides]),
                metrics=metrics,
                seed=read_seed(table, row, problems),
                run_id=row.cells.get("run_id") or None,
                extra=read_extra(table, row, problems),
                where=at(table.path, row.number),
                kind="runs",
            )
        )
    problems += _stand_twice(runs)
    gathered.problems += problems
    gathered.runs += [] if problems else runs
    if silent := sum(
        run.state == "diverged" and not row.cells.get("state") for run, row in zip(runs, table.rows, strict=True)
    ):
        gathered.notes.append(f"{table.path}: runs without a finite {decides} count as diverged: {silent}")


def read_metrics(table: Table, gathered: Gathered, problems: list[str]) -> dict[str, list[float]]:
    """{metric: its numbers in the order of the rows}, percent; what is wrong with them as problems.

    A column that the study does not ask for, and that is a metric by its name alone, is left out where it is wrong.
    """
    wanted = gathered.wanted
    found = {}
    for metric in wanted.metric_columns(table.columns):
        wrong: list[str] = []
        values = [read_metric(table.path, row, metric, wrong) for row in table.rows]
        places = [at(table.path, row.number, metric) for row in table.rows]
        wrong += check_metric(at(table.path), metric, list(map(Reading, values, places)), wanted)
        if wrong and metric not in wanted.metrics:
            gathered.notes.append(f"{table.path}: {metric} is left out: {wrong[0].partition(': ')[2]}")
            continue
        problems += wrong
        found[metric] = [percent_factor(metric, wanted) * value for value in values]
    return found


def read_settings(table: Table, row: Row, names: Sequence[str], problems: list[str]) -> dict[str, Any]:
    """{column: text} of a row, None where it is empty."""
    for name in names:
        problems += wrong_level(table.path, row.number, name, row.cells[name])
    return {name: row.cells[name] or None for name in names}


def read_state(table: Table, row: Row, problems: list[str]) -> str | None:
    """How a run ended, where that is given."""
    text = row.cells.get("state", "")
    if not text or text.lower() in STATES:
        return text.lower() or None
    near = closest(text.lower(), STATES)
    hint = f"; did you mean {near}?" if near else ""
    problems.append(f"{at(table.path, row.number, 'state')}: {must_be(text, ' or '.join(STATES))}{hint}")
    return None


def read_seed(table: Table, row: Row, problems: list[str]) -> int | None:
    """The seed of a run, where that is given."""
    text = row.cells.get("seed", "")
    value = whole(text) if text else None
    if text and (value is None or value < 0):
        hint = number_hint(text)
        problems.append(f"{at(table.path, row.number, 'seed')}: {must_be(text, 'a whole number from 0')}{hint}")
    return value


def read_extra(table: Table, row: Row, problems: list[str]) -> dict[str, Any]:
    """Device, hours and the like, where they are given."""
    extra: dict[str, Any] = {name: row.cells[name] for name in TEXTS if row.cells.get(name)}
    if row.cells.get("hours"):
        extra["hours"] = read_metric(table.path, row, "hours", problems)
    return extra


def _stand_twice(runs: Sequence[RawRun]) -> list[str]:
    first: dict[str, str] = {}
    return [
        f"{run.where}, column run_id: is {run.run_id} as in {first[run.run_id]}: each run has its own, or none"
        for run in runs
        if run.run_id and first.setdefault(run.run_id, run.where) != run.where
    ]
