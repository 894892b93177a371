"""Rows of one level, or of one side of a comparison, as cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ..records import OUTCOMES
from ..study.metric import ACCURACIES, Metric
from . import style
from .inference.cell import Cell


class NotThereError(Exception):
    """Why a claim is not run: rows are missing."""


class CannotTestError(Exception):
    """Why a claim is inconclusive although its rows are there: they cannot be compared."""


@dataclass(frozen=True)
class Group:
    """The cells of one level, or of one side of a comparison."""

    level: Any
    """The level of the factor, or the name of the side."""
    keys: tuple[str, ...]
    """One a cell: what has to be the same in the other groups, in words."""
    cells: tuple[Cell, ...]
    rows: pd.DataFrame
    """(rows: runs with a result, summarised cells): columns of `runs`, and `key`."""
    value: str
    """Column of the metric."""
    failed: int = 0
    """Runs without a result."""
    without: int = 0
    """Finished runs without a value of the metric."""
    left_out: tuple[str, ...] = ()
    """Keys of cells that not all of the other groups have."""
    by: tuple[str, ...] = ()
    """Columns that a key joins."""


def make_group(
    level: Any, rows: pd.DataFrame, metric: Metric, apart: Sequence[str], beside: Sequence[str] = ()
) -> Group:
    """The cells of these rows. apart: columns that tell them apart; beside: those that other groups must share.

    Raises NotThereError where no row has the metric or a run has not ended.
    """
    value = f"{metric.name}_{metric.of_run}" if metric.of_run and metric.name in ACCURACIES else metric.name
    value = value if value in rows else metric.name
    summarised = is_summarised(rows)
    if summarised.any():
        rows = rows[~summarised | (rows["known_metric"] == metric.name)]
        summarised = summarised[rows.index]
    if rows.empty or (value not in rows and not summarised.all()):
        raise NotThereError(f"no row has a column {metric.name}")
    if value in rows and not pd.api.types.is_numeric_dtype(rows[value]):
        raise NotThereError(f"{metric.name} is no column of numbers")
    ended = summarised | rows["state"].isin([*OUTCOMES, "failed"])
    what = "measurements" if "measurement_id" in rows else "runs"
    if not ended.all():
        raise NotThereError(f"{(~ended).sum()} of {len(rows)} {what} have not ended")
    rows = rows.assign(key=_labels(rows, beside), cell=_labels(rows, apart))
    failed = int((rows["state"] == "failed").sum())
    rows = rows[rows["state"].isin(OUTCOMES) | summarised]
    if rows.empty:
        raise NotThereError(f"all of its {what} failed")
    without = int(rows[value].isna()[(rows["state"] == "finished")].sum()) if value in rows else 0
    where = style.level_label(level)
    found = {
        (key, cell): _cell(", ".join(filter(None, (where, cell))), own, value)
        for (key, cell), own in rows.groupby(["key", "cell"])
    }
    if all(cell.runs == 0 for cell in found.values()):
        raise NotThereError(f"no row has a value of {metric.name}")
    keys = tuple(key for key, _ in found)
    return Group(level, keys, tuple(found.values()), rows, value, failed, without, by=tuple(beside))


def matched(groups: Sequence[Group]) -> list[Group]:
    """The groups with the cells of which all of them have one with the same key."""
    shared = set.intersection(*(set(group.keys) for group in groups))
    if not shared:
        raise CannotTestError("no cell of one side is like one of the other: they differ in other factors too")
    return [
        replace(
            group,
            keys=tuple(key for key in group.keys if key in shared),
            cells=tuple(cell for key, cell in zip(group.keys, group.cells, strict=True) if key in shared),
            rows=group.rows[group.rows["key"].isin(shared)],
            left_out=tuple(key for key in group.keys if key not in shared),
        )
        for group in groups
    ]


def is_summarised(rows: pd.DataFrame) -> pd.Series:
    """Which rows stand for a whole cell."""
    return rows["known_n"].notna() if "known_n" in rows else pd.Series(False, index=rows.index)


def _labels(rows: pd.DataFrame, columns: Sequence[str]) -> Any:
    return rows[list(columns)].apply(lambda row: style.cell_label(row, columns), axis=1) if len(columns) else ""


def _cell(label: str, rows: pd.DataFrame, value: str) -> Cell:
    """The cell of these rows: of its runs, or else of its summary."""
    known = rows[is_summarised(rows)]
    runs = rows.drop(known.index)
    if len(runs) and len(known):
        raise CannotTestError(f"{label} has both single runs and a summary: which of them overlap is not known")
    if len(known):
        first = known.iloc[0]
        n, diverged = int(first["known_n"]), first["known_diverged"]
        sd = float(first["known_sd"]) if n > 1 else math.nan
        return Cell(label, n, float(first["known_mean"]), sd, None, 0 if pd.isna(diverged) else int(diverged))
    runs = runs.sort_values("seed", kind="stable")
    diverged = runs["state"] == "diverged"
    return Cell.of(label, runs.loc[~diverged, value].dropna(), int(diverged.sum()))
