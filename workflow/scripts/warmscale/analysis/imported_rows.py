"""Rows of the tables for results that were imported into a trained study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from ..replay.imports import ImportedRun, metrics_of
from ..study import Study
from .metrics import chance_of
from .schemas import EPOCHS


def imported_runs(study: Study) -> Iterator[dict[str, Any]]:
    """A row of `runs` for every imported run: the recipe of its cell, the outcome of its source."""
    for one in study.imported.values():
        if one.seed is None:
            continue
        rule, state = study.metric_rule(one.like), one.row["state"]
        found = metrics_of(one.row) if state == "finished" else {}
        if state == "diverged":
            found = {study.config.metric.name: chance_of(study)}
        row = one.like.columns() | {"run_id": one.run_id, "seed": one.seed, "data_seed": None, "init_seed": None}
        row |= {"experiments": ";".join(study.experiments_of(one.run_id)), "imported": one.row["source"]}
        row |= {
            "state": state,
            "metric_rule": rule if one.epochs else "given",
            "total_epochs": one.like.content["epochs"],
        }
        row |= {"device_name": one.row.get("device_name"), "epochs_done": len(one.epochs)} | found
        yield row | {f"{metric}_{rule}": value for metric, value in found.items()}


def imported_epochs(study: Study) -> pa.Table:
    """Rows of `epochs` of the imported runs that have any."""
    rows = [
        {name: row.get(name) for name in EPOCHS.names} | {"run_id": one.run_id}
        for one in study.imported.values()
        for row in one.epochs
    ]
    return pa.Table.from_pylist(rows, schema=EPOCHS)


def known_of(one: ImportedRun | None) -> dict[str, Any]:
    """Columns of `points` for a cell that is known as a summary only."""
    if one is None or one.seed is not None:
        return {}
    known = {f"known_{name}": one.row[name] for name in ("n", "mean", "sd", "diverged", "metric")}
    return {name: None if value != value else value for name, value in known.items()}
