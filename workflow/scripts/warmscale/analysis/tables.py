"""The tables of a study, from the published files of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from ..records import GRADIENT_COLUMNS, OUTCOMES
from ..study import Study
from ..study.levels import as_text, level_value
from . import published
from .imported_rows import imported_epochs, imported_runs, known_of
from .metrics import chance_level, run_metrics
from .published import Records
from .replayed_tables import make_replayed_tables
from .schemas import EPOCHS, METRIC_COLUMNS, NO_FACTORS, STEPS, points_schema, runs_schema
from .throughput_table import make_throughput_table, no_measurements

FROM_OUTCOME = ("state", "failure_class", "diverged_step", "epochs_done", "node_hours", "device_name")


@dataclass(frozen=True)
class Tables:
    """The tables of a study, as read by everything behind them."""

    runs: pd.DataFrame
    """A row a run."""
    epochs: pd.DataFrame
    """A row a run and epoch."""
    points: pd.DataFrame
    """A row an experiment, cell and seed: which run it is, and the levels of its factors."""
    steps: pd.DataFrame
    """A row a run and audited step."""
    throughput: pd.DataFrame = field(default_factory=no_measurements)
    """A row a measurement; none of a study without any."""


def make_tables(study: Study, results: Path, records: Records | None = None, folder: Path | None = None) -> None:
    """Aggregate what is published under results/<study>/runs into results/<study>/tables, or another folder.

    Runs that are not published have their rows in `runs` and `points`, and none in `epochs` and `steps`.
    """
    tables = folder or results / "tables"
    if study.is_replayed:
        return make_replayed_tables(study, tables)
    records = records or published.read_records(study.runs, results)
    for name, schema in (("epochs", EPOCHS), ("steps", STEPS)):
        paths = (results / "runs" / run_id / f"{name}.csv" for run_id in study.runs if run_id in records.outcomes)
        others = [imported_epochs(study)] if name == "epochs" and study.imported else []
        published.write_measured(chain(published.read_csvs(paths, schema), others), schema, tables / name)
    columns = ["run_id", "epoch", "top1", "top5", "images_per_sec"]
    metrics = run_metrics(pd.read_parquet(tables / "epochs.parquet", columns=columns))
    published.write_described(runs_rows(study, records.all, metrics), runs_schema(), tables / "runs")
    published.write_described(*points_table(study), tables / "points")
    if study.measurements:
        make_throughput_table(study, results, tables)


def read_tables(folder: Path) -> Tables:
    """Read the tables that `make_tables` wrote."""
    measured = folder / "throughput.parquet"
    rates = ["run_id", "step", "learning_rate", "expected_learning_rate", *GRADIENT_COLUMNS]
    return Tables(
        runs=pd.read_parquet(folder / "runs.parquet"),
        epochs=pd.read_parquet(folder / "epochs.parquet"),
        points=pd.read_parquet(folder / "points.parquet"),
        steps=pd.read_parquet(folder / "steps.parquet", columns=rates),
        throughput=pd.read_parquet(measured) if measured.exists() else no_measurements(),
    )


def runs_rows(study: Study, records: Mapping[str, Mapping], metrics: pd.DataFrame) -> list[dict[str, Any]]:
    """A row a run of the study, in its order; a run that nothing is known of is pending."""
    schema = runs_schema()
    by_run = metrics.astype(object).where(metrics.notna(), None).to_dict("index")
    num_classes = study.config.dataset.num_classes
    rows = []
    for run_id, run in study.runs.items():
        row = {"run_id": run_id, "experiments": ";".join(study.experiments_of(run_id))} | run.columns()
        row |= {"total_epochs": run.content["epochs"], "metric_rule": study.metric_rule(run)}
        row |= _outcome(records.get(run_id), by_run.get(run_id, {}), study.metric_rule(run), num_classes)
        rows.append(_as_types(row, schema))
    return rows + [_as_types(row, schema) for row in imported_runs(study)]


def _outcome(outcome: Mapping | None, measured: Mapping, rule: str, num_classes: int) -> dict[str, Any]:
    """State and metrics of a run; a diverged one is at chance level, one without a result has no metrics."""
    if outcome is None:
        return {"state": "pending", "epochs_done": 0, "attempts": 0}
    row = {name: outcome.get(name) for name in FROM_OUTCOME} | {"attempts": len(outcome.get("attempts") or ())}
    row |= {"images_per_sec": measured.get("images_per_sec")} | _place(outcome.get("attempts") or ())
    if outcome["state"] not in OUTCOMES:
        return row
    for column in METRIC_COLUMNS:
        chance = chance_level(column.partition("_")[0], num_classes)
        row[column] = chance if outcome["state"] == "diverged" else measured.get(column)
    return row | {metric: row[f"{metric}_{rule}"] for metric in ("top1", "top5")}


def _place(attempts: Sequence[Mapping]) -> dict[str, int]:
    """Nodes and ranks that carried out a run; empty where attempts that trained it had different ones."""
    trained = [one for one in attempts if "world_size" in one and one.get("steps_done", 0) > one.get("steps_before", 0)]
    places = {(one.get("nodes", 1), one["world_size"]) for one in trained}
    return dict(zip(("nodes", "ranks"), *places, strict=True)) if len(places) == 1 else {}


def points_table(study: Study) -> tuple[list[dict[str, Any]], pa.Schema]:
    """The rows of `points`, and their types."""
    rows = points_rows(study)
    factors = dict.fromkeys(leaf for row in rows for leaf in row if leaf not in NO_FACTORS)
    schema = points_schema({leaf: [row.get(leaf) for row in rows] for leaf in factors})
    return [_as_types(row, schema) for row in rows], schema


def points_rows(study: Study) -> list[dict[str, Any]]:
    """A row a point: experiment, run, seed, and the levels of the experiment's factors."""
    return [
        {"experiment": point.experiment, "run_id": point.run_id, "seed": point.seed}
        | {leaf: level_value(value) for leaf, value in point.factors.items()}
        | known_of(study.imported.get(point.run_id))
        for point in study.points
    ]


def _as_types(row: Mapping[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """The row with text in the columns of text."""
    text = {field.name for field in schema if field.type == pa.string()}
    return {name: _text(value) if name in text else value for name, value in row.items()}


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return as_text(value)
