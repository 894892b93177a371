"""What the page shows of runs: their states, and a row each."""

from __future__ import annotations

import pandas as pd

from ..records import STATES
from . import style

RUN_COLUMNS = {
    "run_id": "run",
    "state": "state",
    "top1": "top-1 (%)",
    "top5": "top-5 (%)",
    "mini_batch_size": "mini-batch size",
    "workers": "workers",
    "lr_scaling.rule": "scaling",
    "peak_lr": "peak rate",
    "warmup_epochs": "warmup epochs",
    "seed": "seed",
    "epochs_done": "epochs done",
    "images_per_sec": "images/s",
    "attempts": "attempts",
    "node_hours": "node-hours",
    "device_name": "device",
    "experiments": "experiments",
}
"""Columns of the runs table of the page, and their headings; tables/runs.csv has all."""

FIRST, LAST = ("run_id", "state"), ("seed", "device_name", "source", "experiments")
"""Columns of replayed runs before and after their metrics and factors."""
HIDDEN = {"metric_rule", "total_epochs"}


def states(runs: pd.DataFrame) -> dict[str, int]:
    """How many runs are in which state."""
    counts = runs["state"].value_counts()
    return {state: int(counts[state]) for state in STATES if state in counts}


def imported(runs: pd.DataFrame) -> int:
    """How many runs were not trained here, but read from files."""
    return int(runs["imported"].notna().sum()) if "imported" in runs else 0


def columns(runs: pd.DataFrame, replayed: bool) -> dict[str, str]:
    """{column: heading} of the table of runs."""
    if replayed:
        return _replayed_columns(runs)
    return RUN_COLUMNS | ({"imported": "imported from"} if imported(runs) else {})


def summaries(points: pd.DataFrame) -> int:
    """How many cells are known as summaries only."""
    return points.loc[points["known_n"].notna(), "run_id"].nunique()


def _replayed_columns(runs: pd.DataFrame) -> dict[str, str]:
    """{column: heading} of the runs of a page, those that have a value."""
    filled = [column for column in runs if runs[column].notna().any() and column not in HIDDEN]
    middle = [column for column in filled if column not in (*FIRST, *LAST)]
    order = [column for column in (*FIRST, *middle, *LAST) if column in filled]
    labels = {"run_id": "run", **style.METRIC_LABELS}
    return {column: labels.get(column) or style.factor_label(column) for column in order}
