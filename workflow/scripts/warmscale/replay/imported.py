"""The tables of a replay, from what its sources hold."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from .curves import settle
from .factors import Split
from .names import OF_EPOCH, OF_RUN, is_accuracy
from .records import Gathered, RawCell, RawRun


@dataclass(frozen=True)
class Rows:
    """A table; one without rows has its columns."""

    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    """{column: value}, all columns in each; what is not known is None, a number NaN."""


@dataclass(frozen=True)
class Imported:
    """What the sources of a replay hold."""

    runs: Rows
    """A row a run: run_id, seed, state (finished, diverged, failed), factors, constants, metrics (percent; a diverged
    run has the study's at chance level, or none), device_name, hours, status, org where given, source."""
    epochs: Rows
    """A row a run and epoch: run_id, epoch, metrics, and step, learning_rate, time where given."""
    cells: Rows
    """A row a cell and metric that is known as a summary: factors, constants, metric, n (runs with a value), mean, sd
    (empty for n of 1), diverged (runs beside n), source."""
    factors: tuple[str, ...]
    """Columns that tell cells apart."""
    notes: tuple[str, ...]
    """What was taken as what, and what was treated how."""


def make_tables(gathered: Gathered, split: Split, rule: str, chance: float | None) -> Imported:
    """Tables of runs that have ids and seeds, and of cells. rule, chance: as for `read_sources` and in the config."""
    metrics = list(
        dict.fromkeys((*gathered.wanted.metrics, *(name for run in gathered.runs for name in _metrics(run))))
    )
    levels = [*split.factors, *split.constants]
    extra = [name for name in OF_RUN if name not in levels and any(name in run.extra for run in gathered.runs)]
    kept = [name for name in OF_EPOCH if any(name in row for run in gathered.runs for row in run.epochs[:1])]
    numbers = [settle(run, metrics, rule, chance) for run in gathered.runs]
    gathered.notes += _sparse(gathered.runs, rule) + _far_below(gathered, numbers)
    runs = [
        {"run_id": run.run_id, "seed": run.seed, "state": run.state, "source": run.source}
        | run.extra
        | run.settings
        | row
        for run, row in zip(gathered.runs, numbers, strict=True)
    ]
    curves = [{"run_id": run.run_id} | row for run in gathered.runs for row in run.epochs]
    cells = [_cell_row(cell) for cell in gathered.cells]
    in_epochs = [name for name in metrics if any(name in row for run in gathered.runs for row in run.epochs)]
    source = ["source"] if "source" not in levels else []
    return Imported(
        runs=_table(runs, ["run_id", "seed", "state", *levels, *metrics, *extra, *source], metrics),
        epochs=_table(curves, ["run_id", "epoch", *(in_epochs or metrics), *kept], metrics),
        cells=_table(cells, [*levels, "metric", "n", "mean", "sd", "diverged", *source], ["mean", "sd"]),
        factors=split.factors,
        notes=tuple(dict.fromkeys(gathered.notes)),
    )


def _metrics(run: RawRun) -> list[str]:
    in_epochs = [name for name in (run.epochs[0] if run.epochs else ()) if name not in ("epoch", *OF_EPOCH)]
    return [*run.metrics, *in_epochs]


def _cell_row(cell: RawCell) -> dict[str, Any]:
    row = {name: getattr(cell, name) for name in ("metric", "n", "mean", "sd", "diverged", "source")}
    return cell.settings | row


def _table(rows: Sequence[dict], columns: Sequence[str], numbers: Collection[str]) -> Rows:
    """Rows as a table with these columns."""
    empty = {name: math.nan if name in numbers else None for name in columns}
    return Rows(tuple(columns), tuple({name: row.get(name, empty[name]) for name in columns} for row in rows))


def _sparse(runs: Sequence[RawRun], rule: str) -> list[str]:
    """Say where a median of five takes in more than five epochs."""
    spans = [int(run.epochs[-1]["epoch"] - run.epochs[-5]["epoch"]) + 1 for run in runs if len(run.epochs) > 4]
    if rule == "last" or max(spans, default=0) <= 5:
        return []
    hint = "`of_run: last` under metric takes the last one"
    return [f"not every epoch has a row: the median of the last five spans up to {max(spans)} epochs; {hint}"]


def _far_below(gathered: Gathered, numbers: Sequence[dict[str, float]]) -> list[str]:
    """Point at single accuracies of a percent at most among others: chance level, or a fraction among percentages."""
    metric = gathered.wanted.metrics[0]
    if not is_accuracy(metric) or "err" in metric.lower():
        return []
    found = [
        (run.where, row[metric]) for run, row in zip(gathered.runs, numbers, strict=True) if run.state == "finished"
    ]
    found += [(cell.where, cell.mean) for cell in gathered.cells if cell.metric == metric and cell.n]
    usual = median([value for _, value in found] or [0])
    hint = "percent, far below the others: a fraction, or a run that diverged?"
    return [f"{where}: {metric} is {value:g} {hint}" for where, value in found if value <= 1 and usual > 20]
