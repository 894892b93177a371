"""What finished runs took, beside what the cost model says of them when it knows nothing of their cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ..analysis.tables import Tables
from ..cluster.placement import Where
from ..cluster.site import SiteError
from .cells import cell_name
from .costs import RunCost
from .measured import is_device_of
from .prices import Prices
from .workload import PlanningError

FOLDS = 20
"""Parts of the cells that are left out in turn, each by one calibration: with no more cells, one cell at a time."""


@dataclass(frozen=True)
class Taken:
    """A finished run."""

    run_id: str
    cell: str
    where: Where | None
    """None where its attempts were placed differently."""
    attempts: int
    node_hours: float
    """Of all attempts."""
    train_hours: float
    """Of the epochs that count, without validation."""
    predicted: RunCost | None
    """From its first step, where it was; None where its attempts were placed differently, on another machine than costs
    are of, or at a place that the site does not have."""
    fitted_to: int
    """Measurements and trainings that the prediction rests on, none of its cell; 0: the preset alone."""

    @property
    def is_inside(self) -> bool | None:
        """Whether its node-hours are within the interval of the prediction; None without one."""
        if self.predicted is None:
            return None
        return self.predicted.node_hours_low <= self.node_hours <= self.predicted.node_hours_high


def taken_runs(prices: Prices, tables: Tables) -> list[Taken]:
    """The finished runs of a study, in its order; tables: of what is there."""
    runs = tables.runs
    rows = runs[(runs["state"] == "finished") & runs["run_id"].isin(list(prices.study.runs))].to_dict("records")
    cells = {row["run_id"]: cell_name(prices.study.runs[row["run_id"]]) for row in rows}
    train_sec, others = tables.epochs.groupby("run_id")["train_sec"].sum(), _others(prices, cells)
    return [_taken(row, cells[row["run_id"]], train_sec[row["run_id"]], others[cells[row["run_id"]]]) for row in rows]


def _others(prices: Prices, cells: Mapping[str, str]) -> dict[str, Prices]:
    """{cell: prices that know nothing of it}. cells: {run_id: cell} of the finished runs."""
    folds = {cell: number % FOLDS for number, cell in enumerate(dict.fromkeys(cells.values()))}
    without = {}
    for fold in set(folds.values()):
        hidden = {run_id for run_id, cell in cells.items() if folds[cell] == fold}
        known = [each for each in prices.measured if each.source not in hidden]
        without[fold] = replace(prices, measured=known, models={}, known={})
    return {cell: without[fold] for cell, fold in folds.items()}


def _taken(row: Mapping[str, Any], cell: str, train_sec: float, prices: Prices) -> Taken:
    """A run; row: of the table of runs."""
    where = None if pd.isna(row["nodes"]) else Where(int(row["nodes"]), int(row["ranks"]) // int(row["nodes"]))
    run, device = prices.study.runs[row["run_id"]], "" if pd.isna(row["device_name"]) else row["device_name"]
    predicted = None
    if where and is_device_of(device, prices.hardware):
        try:
            predicted = prices.cost(run, where)
        except (SiteError, PlanningError):
            predicted = None
    return Taken(
        run_id=run.run_id,
        cell=cell,
        where=where,
        attempts=int(row["attempts"]),
        node_hours=float(row["node_hours"]),
        train_hours=float(train_sec) / 3600,
        predicted=predicted,
        fitted_to=len(prices.model_of(run).measured) if predicted else 0,
    )
