"""The cells of a study, which differ in more than their seed, and what is there of each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ..analysis.metrics import run_metrics
from ..analysis.published import read_csvs, read_records
from ..analysis.schemas import EPOCHS, METRIC_COLUMNS, runs_schema
from ..analysis.tables import Tables, points_table, runs_rows
from ..records import OUTCOMES
from ..study import Study, canonical_json
from ..study.levels import is_in
from ..study.planning import Planning
from ..study.run import Run

SEEDS = ("data_seed", "init_seed")
ASSUMED = "assumed"
"""Column of `runs` that says of which of them nothing is known yet."""


@dataclass(frozen=True)
class SeededCell:
    """Runs that differ in their seed alone."""

    name: str
    """Readable parts of their ids, and a short hash."""
    runs: tuple[str, ...]
    """Their ids, in the order of the config."""


def cells_of(study: Study) -> dict[str, SeededCell]:
    """{name: cell} of all runs; a run of several experiments is in one cell."""
    found: dict[str, list[str]] = {}
    for run_id, run in study.runs.items():
        found.setdefault(cell_name(run), []).append(run_id)
    return {name: SeededCell(name, tuple(runs)) for name, runs in found.items()}


def cell_name(run: Run) -> str:
    """What the runs of a cell have in common, as a word."""
    shared = canonical_json({key: value for key, value in run.content.items() if key not in SEEDS})
    beginning = run.run_id.rsplit("-s", 1)[0]
    return f"{beginning}-{hashlib.sha256(shared.encode()).hexdigest()[:6]}"


def tables_in_memory(study: Study, results: Path) -> Tables:
    """`runs` and `points` of what is published under results/<study>, whatever was aggregated there before."""
    records = read_records(study.runs, results)
    paths = [results / "runs" / run_id / "epochs.csv" for run_id in study.runs if run_id in records.outcomes]
    epochs = pa.concat_tables([EPOCHS.empty_table(), *read_csvs(paths, EPOCHS)]).to_pandas()
    metrics = run_metrics(epochs)
    runs = pa.Table.from_pylist(runs_rows(study, records.all, metrics), schema=runs_schema())
    rows, schema = points_table(study)
    points = pa.Table.from_pylist(rows, schema=schema)
    return Tables(runs=runs.to_pandas(), epochs=epochs, points=points.to_pandas(), steps=pd.DataFrame())


def as_if_finished(tables: Tables) -> Tables:
    """The tables with a made-up result for each run that has none, marked: what a claim will be about is found by them.

    The value says nothing; of cells with such a run only the structure may be used.
    """
    runs = tables.runs.copy()
    there = runs["state"].isin(OUTCOMES)
    values = {column: runs[column].where(there, 0.0) for column in (*METRIC_COLUMNS, "top1", "top5")}
    runs = runs.assign(state=runs["state"].where(there, "finished"), **values, **{ASSUMED: ~there})
    return Tables(runs=runs, epochs=tables.epochs, points=tables.points, steps=tables.steps)


def spread_of(row: Mapping, planning: Planning) -> float | None:
    """Standard deviation that is assumed of the cell of a run, a row of `runs`; None where nothing is."""
    return _of_cell(row, planning.sd, "sd")


def effect_of(row: Mapping, planning: Planning) -> float | None:
    """The effect that matters in the cell of a run, a row of `runs`; None where the study's does."""
    return _of_cell(row, planning.smallest_effect, "smallest_effect")


def _of_cell(row: Mapping, given: float | list | None, name: str) -> float | None:
    """What is given for all cells, or for the first group of cells that has this one."""
    if not isinstance(given, list):
        return given
    return next((getattr(group, name) for group in given if is_in(row, group.where)), None)
