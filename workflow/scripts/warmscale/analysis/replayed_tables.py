"""The tables of a study of replayed results: the same as of trained runs, as far as the sources have them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..replay import Imported, ReplayError, read_replayed
from ..replay.wanted import DEFAULT_RULE, referenced_metrics
from ..study import Study
from ..study.errors import shown
from ..study.levels import is_in
from .published import write_described
from .schemas import STEPS, points_schema, shared_type

NOTES = pa.schema([("note", pa.string())])
RUN_COLUMNS = ("run_id", "experiments", "seed", "state", "metric_rule", "total_epochs", "device_name", "source")
"""Columns of `runs` that all sources have, beside factors and metrics; empty where a source does not say."""


def make_replayed_tables(study: Study, tables: Path) -> None:
    """Read the sources of a study into a folder of tables; raises ReplayError with all that is wrong with them."""
    metrics, found = referenced_metrics(study), read_replayed(study)
    if empty := _experiments_without_rows(study, found):
        raise ReplayError(empty)
    rows = _run_rows(study, found)
    columns = list(dict.fromkeys([*RUN_COLUMNS, *metrics, *found.factors, *found.runs.columns]))
    _write(rows, columns, metrics, tables / "runs")
    epochs = list(dict.fromkeys(["run_id", "epoch", *metrics, *found.epochs.columns]))
    _write(found.epochs.rows, epochs, metrics, tables / "epochs")
    levels = {factor: [row.get(factor) for row in (*rows, *found.cells.rows)] for factor in found.factors}
    write_described(_points(study, found), points_schema(levels), tables / "points")
    write_described([], STEPS, tables / "steps")
    write_described([{"note": note} for note in found.notes], NOTES, tables / "notes")


def _experiments_without_rows(study: Study, found: Imported) -> list[str]:
    """A line for every experiment that selects nothing."""
    rows = (*found.runs.rows, *found.cells.rows)
    return [
        f"experiments.{one.name}.where: {shown(one.where)} selects no row"
        for one in study.config.trainings
        if not any(is_in(row, one.where) for row in rows)
    ]


def _run_rows(study: Study, found: Imported) -> list[dict[str, Any]]:
    """A row a run, with the experiments that it belongs to."""
    last: dict[str, int] = {}
    for row in found.epochs.rows:
        last[row["run_id"]] = max(row["epoch"], last.get(row["run_id"], 0))
    rule = study.config.metric.of_run or DEFAULT_RULE
    return [
        row
        | {"experiments": ";".join(_experiments(study, row)), "total_epochs": last.get(row["run_id"])}
        | {"metric_rule": rule if row["run_id"] in last else "given"}
        for row in found.runs.rows
    ]


def _points(study: Study, found: Imported) -> list[dict[str, Any]]:
    """A row an experiment and run, and one an experiment and summarised cell."""
    runs = [
        {"experiment": name, "run_id": row["run_id"], "seed": row["seed"]} | {key: row[key] for key in found.factors}
        for row in found.runs.rows
        for name in _experiments(study, row)
    ]
    cells = [
        {"experiment": name, "run_id": f"summary-{index}", "known_metric": row["metric"]}
        | {f"known_{key}": None if row[key] != row[key] else row[key] for key in ("n", "mean", "sd", "diverged")}
        | {key: row[key] for key in found.factors}
        for index, row in enumerate(found.cells.rows, start=1)
        for name in _experiments(study, row)
    ]
    order = [experiment.name for experiment in study.config.trainings]
    return sorted(runs + cells, key=lambda row: order.index(row["experiment"]))


def _experiments(study: Study, row: Mapping[str, Any]) -> list[str]:
    return [experiment.name for experiment in study.config.trainings if is_in(row, experiment.where)]


def _write(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], metrics: Sequence[str], stem: Path) -> None:
    """Write rows of which only some columns have a known type."""
    fixed = {"run_id": pa.string(), "experiments": pa.string(), "seed": pa.int64(), "state": pa.string()}
    fixed |= {"epoch": pa.int64(), "total_epochs": pa.int64(), "metric_rule": pa.string(), "device_name": pa.string()}
    fixed |= {metric: pa.float64() for metric in metrics}
    types = {name: fixed.get(name) or shared_type([row.get(name) for row in rows]) for name in columns}
    text = {name for name, kind in types.items() if kind == pa.string()}
    write_described([_plain(row, text) for row in rows], pa.schema(list(types.items())), stem)


def _plain(row: Mapping[str, Any], text: Collection[str]) -> dict[str, Any]:
    """A row with what is not known empty, and text in the columns of text."""
    known = {name: None if value != value else value for name, value in row.items()}
    return {name: str(value) if name in text and value is not None else value for name, value in known.items()}
