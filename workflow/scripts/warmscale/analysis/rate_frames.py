"""The tables that figures of learning rates are drawn from: the schedules as planned, and as realised."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ..study import Schedule, Study
from .catalogue import factors_of
from .levels import level_points

MAX_POINTS = 600
"""Steps at which a schedule is drawn, besides its corners."""


def schedules_frame(study: Study, points: pd.DataFrame) -> pd.DataFrame:
    """Learning rates of all cells in closed form.

    -> (rows: cell, step): experiment, level, factors, step, learning_rate, epoch (steps done, in epochs),
    total_epochs.
    """
    parts = []
    for cells in _cells(study, points, ["level"]):
        for cell in cells.to_dict("records"):
            content = study.run_like(cell.pop("run_id")).content
            rates = _rates(Schedule.from_json(content["schedule"]), content["epochs"])
            parts.append(pd.DataFrame([cell]).merge(rates, how="cross"))
    return pd.concat(parts, ignore_index=True)


def _rates(schedule: Schedule, total_epochs: int) -> pd.DataFrame:
    """Rates at the corners of a schedule and at steps between them."""
    total = schedule.total_steps
    corners = {step for start in schedule.starts for step in (start - 1, start) if step >= 0}
    between = np.linspace(0, total - 1, min(total, MAX_POINTS)).round().astype(int)
    steps = sorted(corners.union(between.tolist()))
    rates = [schedule.learning_rate(step) for step in steps]
    frame = pd.DataFrame({"step": steps, "learning_rate": rates})
    return frame.assign(epoch=frame["step"] * total_epochs / total, total_epochs=total_epochs)


def realised_frame(study: Study, points: pd.DataFrame, runs: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """Learning rates as the optimizer had them, and as the closed form has them, over base_lr * scale_factor.

    points, runs, steps: the tables
    -> (rows: cell, audited step): experiment, level, factors, step, epoch, total_epochs, n (runs), realised,
    realised_min, realised_max (mean and range over runs), expected, deviation (the largest, relative to expected).
    A cell without an audited step has one row without a step.
    """
    rates = _relative_rates(steps, runs)
    parts = []
    for own in _cells(study, points, ["level", "seed"]):
        cells = own.drop(columns="run_id").drop_duplicates("level")
        rows = own[["level", "run_id"]].merge(rates, on="run_id", sort=False)
        over_runs = cells.merge(_over_runs(rows), on="level", how="left", sort=False)
        parts.append(over_runs.assign(n=over_runs["n"].fillna(0).astype(int)))
    return pd.concat(parts, ignore_index=True)


def _cells(study: Study, points: pd.DataFrame, by: list[str]) -> Iterator[pd.DataFrame]:
    """The points of every experiment, one for each `by`: experiment, level, factors, run_id."""
    for experiment in study.config.trainings:
        own, names = level_points(points, experiment.name, factors_of(study, experiment.name))
        own = own.drop_duplicates(by)[["level", *names, "run_id"]]
        own.insert(0, "experiment", experiment.name)
        yield own


def _relative_rates(steps: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    columns = ["run_id", "base_lr", "scale_factor", "total_steps", "total_epochs"]
    rows = steps.merge(runs[columns], on="run_id", sort=False)
    unit = rows["base_lr"] * rows["scale_factor"]
    difference = (rows["learning_rate"] - rows["expected_learning_rate"]).abs()
    return rows[["run_id", "step", "total_epochs"]].assign(
        epoch=rows["step"] * rows["total_epochs"] / rows["total_steps"],
        ratio=rows["learning_rate"] / unit,
        expected=rows["expected_learning_rate"] / unit,
        deviation=difference.where(difference == 0, difference / rows["expected_learning_rate"].abs()),
    )


def _over_runs(rows: pd.DataFrame) -> pd.DataFrame:
    cells = rows.groupby(["level", "step"], sort=False).agg(
        epoch=("epoch", "first"),
        total_epochs=("total_epochs", "first"),
        n=("run_id", "nunique"),
        realised=("ratio", "mean"),
        realised_min=("ratio", "min"),
        realised_max=("ratio", "max"),
        expected=("expected", "first"),
        deviation=("deviation", "max"),
    )
    return cells.reset_index()
